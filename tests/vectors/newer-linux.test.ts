import { replayAll } from "./replay.js";

replayAll("cached", "7.2");

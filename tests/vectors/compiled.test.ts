import { replayAll } from "./replay.js";

replayAll("compiled");

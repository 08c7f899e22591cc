export { parseTraceFilter, type TraceFilter } from "./filter.js";
export { asJson, asText, type Callee, type Caller, type TraceOutput, Tracer } from "./tracer.js";

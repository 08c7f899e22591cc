/** The WebAssembly engine as TypeScript objects. */
export { type DecodePath, Engine, type EngineOptions, WasmVm } from "./engine.js";
export { WasmVcpu } from "./vcpu.js";

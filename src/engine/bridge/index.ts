/** The WebAssembly engine as TypeScript objects. */
export { Engine, type EngineOptions, WasmVm } from "./engine.js";
export { WasmVcpu } from "./vcpu.js";

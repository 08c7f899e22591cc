/** `--control PATH`: lines of JSON that ask for methods of the running machine, and their answers. */
import { HostError } from "../../base/index.js";
import { type AnswerLine, LineServer } from "../../hosts/node/line-server.js";
import { type ControlTarget, methods, type Params } from "./methods.js";

/** What a client gets back: one of `result` and `error`. */
interface Answer {
  readonly id: string | number | null;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Opens the socket. @throws HostError SOCKET_UNUSABLE when that cannot be. */
export const listenForControl = (path: string, target: ControlTarget): Promise<LineServer> =>
  LineServer.listen(path, answerFor(target));

/** Answers requests to one machine. */
export const answerFor =
  (target: ControlTarget): AnswerLine =>
  async (line) =>
    JSON.stringify(await answer(target, line));

async function answer(target: ControlTarget, line: string): Promise<Answer> {
  let id: Answer["id"] = null;
  try {
    const request = parse(line);
    const given = request["id"];
    if (typeof given === "string" || typeof given === "number") id = given;
    const { method, params = {} } = request;
    const entry =
      typeof method === "string" && Object.hasOwn(methods, method) ? methods[method] : undefined;
    if (entry === undefined) {
      const message = `"method" has to be one of ${Object.keys(methods).join(", ")}`;
      throw new HostError("NO_METHOD", message);
    }
    if (!isObject(params)) throw new HostError("BAD_PARAMS", '"params" has to be an object');
    const { takes } = entry;
    const odd = Object.keys(params).find((name) => Array.isArray(takes) && !takes.includes(name));
    if (odd !== undefined) throw new HostError("BAD_PARAMS", `${method} takes no "${odd}"`);
    const result = await entry.run(target, params);
    return { id, result: result ?? null };
  } catch (refusal) {
    // A defect ends the program, as everywhere.
    if (!(refusal instanceof HostError)) throw refusal;
    const { code, message } = refusal;
    return { id, error: { code, message } };
  }
}

function parse(line: string): Params {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new HostError("NO_JSON", "a request is one line of JSON", { cause });
  }
  if (!isObject(value)) throw new HostError("NO_JSON", "a request is an object of JSON");
  return value;
}

const isObject = (value: unknown): value is Params =>
  typeof value === "object" && value !== null && !Array.isArray(value);

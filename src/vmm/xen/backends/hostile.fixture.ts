/** What any hostile frontend may do, whatever its device is, as steps of a property test. */
import fc from "fast-check";
import type { Domain } from "../domain.js";
import type { Backend } from "./backend.js";
import { frameOf, type GuestSide } from "./guest.fixture.js";

/** A device with its frontend in the test's hand. */
interface Hands {
  readonly frontend: GuestSide & { connect(): void };
  readonly domain: Domain;
  readonly backend: Backend;
}

/** What is special about a class of devices. */
interface Range {
  /** Grants of rings begin at 8, those of data pages at 16; this is behind the last one. */
  readonly lastRef: number;
  /** Nodes that the backend reads, beside the state, and values for them. */
  readonly nodes: readonly string[];
  readonly values: readonly string[];
}

const STATES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "", "x"];

/** Steps with nodes, grants, pages, ports and the whole domain; their weights add up to 15. */
export function anyCommonStep({ lastRef, nodes, values }: Range) {
  type Step = (hands: Hands) => void;
  const dataRef = fc.integer({ min: 16, max: lastRef });
  const always = (act: Step) => fc.constant(act);
  const reconnect: Step = ({ frontend }) => {
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.connect();
  };
  const setState = fc.constantFrom(...STATES).map(
    (state): Step =>
      ({ frontend }) =>
        frontend.write("state", state),
  );
  const setNode = fc.tuple(fc.constantFrom(...nodes), fc.constantFrom(...values)).map(
    ([name, value]): Step =>
      ({ frontend }) =>
        frontend.write(name, value),
  );
  const grant = fc.integer({ min: 8, max: lastRef }).map(
    (ref): Step =>
      ({ frontend }) =>
        frontend.grant(ref, frameOf(ref), { flags: ref & 7 }),
  );
  const release = dataRef.map(
    (ref): Step =>
      ({ domain }) =>
        void domain.physmap.release(frameOf(ref)),
  );
  const populate = dataRef.map(
    (ref): Step =>
      ({ domain }) =>
        void domain.physmap.populate(frameOf(ref)),
  );
  return fc.oneof(
    { weight: 3, arbitrary: setState },
    setNode,
    grant,
    release,
    populate,
    always(({ domain }) => domain.ports.reset()),
    always(({ frontend, domain }) => void domain.store.rm(1, 0, `${frontend.frontend}/state`)),
    always(({ domain }) => domain.softReset()),
    { weight: 3, arbitrary: always(reconnect) },
    always(({ backend }) => void backend.suspend()),
    always(({ backend }) => backend.resume()),
  );
}

/** What who watches is told of a guest's event_channel_op. */

import { expect, it } from "vitest";
import { xenVcpuId } from "../../../base/index.js";
import { TraceBy, type TraceSink, TraceTarget } from "../../../ports/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { put } from "./arguments.fixture.js";

const [EVENT_CHANNEL_OP, SEND, UNMASK] = [32, 4, 9] as const;

it("sends, and where they go; unmasked ports; on which vCPU", () => {
  const { call, domain } = makeDomain();
  const { ports, domid } = domain;
  const seen: unknown[][] = [];
  const trace = {
    sent: (...args) => seen.push(["sent", ...args]),
    unmasked: (...args) => seen.push(["unmasked", ...args]),
  } as Partial<TraceSink> as TraceSink;
  const ipi = ports.bindIpi(xenVcpuId(1));
  const unbound = ports.allocUnbound(domid);
  const [half, virq, pirq] = [
    ports.allocUnbound(domid),
    ports.bindVirq(1, xenVcpuId(0)),
    ports.bindPirq(5),
  ];
  const loop = ports.bindInterdomain(domid, half);
  const op = (cmd: number, port: number, vcpu: number) =>
    call(EVENT_CHANNEL_OP, [cmd, put(domain, [[4, port]])], { vcpu });
  op(SEND, ipi, 0);
  op(UNMASK, ipi, 0);
  expect(seen).toEqual([]);
  domain.trace = trace;
  for (const [port, target] of [
    [1, TraceTarget.BACKEND],
    [ipi, TraceTarget.PORT],
    [loop, TraceTarget.PORT],
    [unbound, TraceTarget.NOWHERE],
    [virq, TraceTarget.NOWHERE],
    [pirq, TraceTarget.NOWHERE],
    [4000, TraceTarget.NOWHERE],
  ] as const) {
    op(SEND, port, 1);
    expect(seen.splice(0)).toEqual([["sent", 4, TraceBy.MONITOR, port, target, 0, 0]]);
  }
  op(UNMASK, 77, 1);
  op(UNMASK, ipi, 0);
  expect(seen).toEqual([
    ["unmasked", 4, 77],
    ["unmasked", 0, ipi],
  ]);
});

/** A console frontend in a test's hand, as Linux's hvc_xen is one. */
import { Xencons } from "../../../../abi/xen/console.js";
import { putBytes, takeBytes } from "../../byte-ring.js";
import type { makeDomain } from "../../kvm.fixture.js";
import { LinearPage } from "../../shared-page.js";
import { toBytes, toText } from "../../xenstore/wire.js";
import { GuestSide } from "../guest.fixture.js";
import type { ConsoleBackend } from "./console-backend.js";

/** The grant of the ring, and its frame. */
export const REF = 8;
export const GFN = 0x50;
const FROM_GUEST = {
  data: Xencons.out,
  size: Xencons.OUT_SIZE,
  cons: Xencons.out_cons,
  prod: Xencons.out_prod,
};
const TO_GUEST = {
  data: Xencons.in,
  size: Xencons.IN_SIZE,
  cons: Xencons.in_cons,
  prod: Xencons.in_prod,
};

export class ConsoleFrontend extends GuestSide {
  port0 = 0;

  constructor(test: ReturnType<typeof makeDomain>, number = 1) {
    super(test, `console/${number}`);
  }

  /** As hvc_xen does it. */
  connect(state = 3): void {
    this.grant(REF, GFN);
    this.port0 = this.port();
    this.write("ring-ref", `${REF}`);
    this.write("port", `${this.port0}`);
    this.write("state", `${state}`);
  }

  say(text: string): void {
    putBytes(this.page, FROM_GUEST, toBytes(text));
    this.notify(this.port0);
  }

  hear(): string {
    return toText(takeBytes(this.page, TO_GUEST, Xencons.IN_SIZE) ?? new Uint8Array(0));
  }

  get page(): LinearPage {
    const { physmap, config } = this.test.domain;
    const at = physmap.memory.locate(GFN * 4096, 4096);
    if (at === undefined) throw new Error("the frame is not there");
    return new LinearPage(config.vm.linear, at);
  }
}

/** As if the old backend had never been: its process is gone. */
export function forget(frontend: ConsoleFrontend, backend: ConsoleBackend): void {
  backend.disconnect(() => undefined);
  const paths = [`${frontend.frontend}/state`, "/local/domain/1/error/device/console/1/error"];
  for (const path of paths) frontend.test.domain.store.unwatch(0, path, path);
}

"""Random scenarios in which guest code runs between the steps: what make-scenarios does not reach.

Every answer must be the same on every run, so nothing here depends on how fast anything is: guests
run straight on to the next exit or halt, and timers are either due already or never due.
"""
import random
import struct

from guest_code import ARGUMENTS, Code, RAX, RBX, RCX, RDI, RDX, RSI, idt

PRIO = 0xffffffff
SH = 0xc0000000
MSR = 0x40000000
# Guest memory that all scenarios use in the same way; a line of several is by number of the vCPU.
SETTLE, CODE, HANDLERS, IDT, COUNT, POINTER, ARGS, LOWINFO, STACK = 0x600, 0x1000, 0x5000, 0x8000, 0xd000, 0xd040, 0xd100, 0xdc00, 0xe400
HVM_VECTOR, VCPU_VECTOR = 0x20, 0x30
HVM = ["LONG_MODE", "SHARED_INFO", "UPCALL_VECTOR", "EVTCHN", "XEN_VERSION", "RUNSTATE_UPDATE_FLAG", "SHARED_INFO_HVA"]
VCPU = ["VCPU_INFO", "VCPU_TIME_INFO", "RUNSTATE_ADDR", "RUNSTATE_CURRENT", "RUNSTATE_ADJUST", "VCPU_ID", "TIMER", "UPCALL_VECTOR", "VCPU_INFO_HVA"]


def q(*values):
    return struct.pack("<%dQ" % len(values), *[v & (1 << 64) - 1 for v in values]).hex()


def d(*values):
    return struct.pack("<%dI" % len(values), *[v & 0xffffffff for v in values]).hex()


# The code segment of a mode, which all vCPUs find at the same place in memory.
SEGMENT = {"mode64": "64", "mode64 user": "64 user", "mode32": "32", "compat": "32"}


def agreed(modes):
    """Modes whose vCPUs do not end with a triple fault as soon as they take an interrupt: one code segment for all."""
    first = next((m for m in modes if m in SEGMENT), None)
    return [m if m not in SEGMENT or SEGMENT[m] == SEGMENT[first] else first for m in modes]


class Guest:
    """A vCPU of a scenario."""

    def __init__(self, place, ident, mode):
        self.place, self.id, self.mode = place, ident, mode
        self.bits = {"mode64": 64, "mode64 user": 64, "mode32": 32, "compat": 32, "mode16": 16}[mode]
        self.name = "v%d" % ident
        self.info = LOWINFO + 64 * place if self.bits == 16 else SH + 64 * place
        self.takes_interrupts = mode != "compat"
        self.waits = 0


class Wide:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.out = []

    def chance(self, p):
        return self.r.random() < p

    def step(self, text, *values):
        self.out.append(text % values if values else text)

    # ---- set-up

    def scenario(self):
        r = self.r
        self.long_mode = self.chance(.65)
        self.chip = r.choice(("irqchip", "irqchip", "irqchip", "irqchip", "splitirqchip", "none"))
        self.step("vm")
        if self.chip != "none":
            self.step(self.chip)
        self.step("slot 0 0 0x200000")
        self.slot_flags = r.randint(0, 1)
        self.step("slot 1 0xc0000000 0x8000 %d", self.slot_flags)
        ids = r.choice(((0, 1, 2), (0, 1, 2), (0, 3, 5), (0, 2, 33)))[: r.choice((1, 1, 2, 2, 3))]
        modes = ("mode64", "mode64", "mode64", "mode32", "mode32", "mode16", "mode64 user", "compat")
        self.guests = [Guest(i, ident, mode) for i, (ident, mode) in enumerate(zip(ids, agreed([r.choice(modes) for _ in ids])))]
        for g in self.guests:
            self.step("vcpu %d", g.id)
        self.settle()
        self.flags = r.choice((0x22, 0x22, 0x22, 0x2, 0xa2, 0x20, 0))
        # Never MSR 0: whether Xen is on at all then depends on the VMs that were there before.
        self.step("config 0x%x 0x%x", self.flags, MSR)
        self.step("hvm set LONG_MODE %02x", self.long_mode)
        if self.chance(.9):
            self.step("hvm set SHARED_INFO %s", q(SH >> 12))
        for i in range(2):
            self.step("eventfd %d", i)
        if self.chance(.6):
            self.step("hvm set UPCALL_VECTOR %02x", HVM_VECTOR)
        if self.chance(.4):
            self.step("hvm set XEN_VERSION %s", d(r.choice((0x4000a, 0x40011))))
        # After a reset with nothing at the reset vector the processor comes to address 0: it stays there.
        self.step("poke 0 %s", Code(16).stop(0xee).hex())
        self.fill_arguments()
        for g in self.guests:
            self.prepare(g)
        for _ in range(r.randint(2, 5)):
            self.evtchn()
        for _ in range(r.randint(25, 60)):
            self.host_step()
        self.look()
        return "\n".join(self.out) + "\n"

    def settle(self):
        """
        A tenth of a second after a vCPU's first entry Linux has all vCPUs write their clocks again, at their
        next entries. That is behind them when this ends, so that no answer depends on when it came.
        """
        self.step("poke 0x%x %s", SETTLE, Code(32).raw(0xe6, 0x1f, 0xeb, 0xfc).hex())
        for g in self.guests:
            if g.place and self.chip != "none":
                self.step("%s mpstate 0", g.name)
            self.step("%s mode32", g.name)
            self.step("%s regs rip=0x%x", g.name, SETTLE)
            self.step("%s run", g.name)
        self.step("sleep 300")
        for g in self.guests:
            self.step("%s run", g.name)

    def prepare(self, g):
        r = self.r
        self.step("%s %s", g.name, g.mode)
        self.program(g)
        self.handlers(g)
        iopl = 0x3000 if g.mode == "mode64 user" else 0
        interrupts = 0x200 if g.takes_interrupts and self.chance(.6) else 0
        self.step("%s regs rip=0x%x rsp=0x%x rflags=0x%x rax=0x11 rbx=0xb100000b1 rcx=0xc1 rdx=0xd1 rsi=0x51 rdi=0x52 rbp=0x53 r8=0x8 r9=0x9 r10=0x10", g.name,
                  CODE + 0x1000 * g.place, STACK + 0x400 * g.place, 2 | iopl | interrupts)
        self.step("poke 0x%x %s", POINTER + 4 * g.place, d(g.info))
        if self.chance(.85):
            self.step("%s set VCPU_INFO %s", g.name, q(g.info))
        if self.chance(.3):
            self.step("%s set UPCALL_VECTOR %02x", g.name, VCPU_VECTOR)
        if self.chance(.5):
            self.step("%s set TIMER %s", g.name, d(r.choice((13, 13, 1025, 4095)), PRIO) + q(0))
        if self.chance(.4):
            self.step("%s set RUNSTATE_ADDR %s", g.name, q(self.runstate_place()))
        if self.chance(.15):
            self.step("%s set VCPU_TIME_INFO %s", g.name, q(SH + 0x3000 + 64 * g.place))

    def runstate_place(self):
        r = self.r
        return r.choice((SH + 0x4000, SH + 0x5000 - r.randrange(1, 60), SH + 0x5000 - 48, SH + 0x5000 - 44, SH + 0x5000 - 46, SH + 0x8000 - r.randrange(30, 60), 0x100000 + r.randrange(4096)))

    def fill_arguments(self):
        """The structures that hypercalls point to; later steps change some."""
        self.args = {}
        blob = b""
        for kind in ("send", "poll", "timer"):
            for _ in range(4):
                at = ARGS + len(blob)
                data = self.argument(kind)
                self.args.setdefault(kind, []).append(at)
                blob += data + bytes(-len(data) % 8)
        self.step("poke 0x%x %s", ARGS, blob.hex())
        ports = struct.pack("<140I", *[self.port() for _ in range(140)])
        self.step("poke 0x%x %s", 0xd400, ports.hex())

    def argument(self, kind):
        r = self.r
        if kind == "send":
            return struct.pack("<I", self.port())
        if kind == "timer":
            return struct.pack("<QI", r.choice((1, 1, 1 << 62, 0)), r.randint(0, 1))
        ports = r.choice((0xd400, 0xd400 + 4 * r.randrange(8), 0xd400 + 4 * r.randrange(8), 0x1ffffc, 0x700000))
        count = r.choice((0, 1, 1, 1, 1, 2, 3, 128, 129))
        timeout = r.choice((0, 1, 1000, 2000000))
        if self.chance(.7):
            return struct.pack("<QIIQ", ports, count, 0, timeout)
        return struct.pack("<IIQQ", ports, count, timeout, 0)

    def port(self):
        r = self.r
        return r.choice((r.randrange(1, 8), r.randrange(1, 8), r.randrange(64), r.randrange(1024), 13, 31, 32, 63, 64, 1023, 1024, 1025, r.randrange(4096), 4095, 4096, r.getrandbits(32)))

    # ---- guest code

    def handlers(self, g):
        r = self.r
        base = HANDLERS + 0x400 * g.place
        code = b""
        # Long mode has 64-bit gates, to 64-bit code: a compat guest whose code segment is not that one
        # ends with a triple fault.
        bits = 64 if g.mode == "compat" else g.bits
        for vector in range(32):
            code += Code(bits).raw(0xb0, vector).stop(0xe0).bytes + bytes(1)
        parts = {}
        for vector, eoi in ((HVM_VECTOR, False), (VCPU_VECTOR, self.chance(.8)), (0x3e, False)):
            c = Code(bits).inc(COUNT + 4 * g.place)
            if g.bits == 16 or self.chance(.6):
                c.out_al(0x98 if vector == HVM_VECTOR else vector)
            else:  # no endless loop where upcall_pending is not where this looks
                c.raw(0x83)._address(7, COUNT + 4 * g.place).raw(20, 0x72, 2).out_al(0x97)
            if vector != 0x3e:
                if g.bits == 16:
                    c.store(g.info, 0).store(g.info + 4, 0).store(g.info + 8, 0).store(g.info + 12, 0)
                else:
                    c.clear_upcall(POINTER + 4 * g.place, not self.long_mode)
            if eoi and g.bits != 16:
                c.raw(0x53).mov(RBX, 0xfee000b0).raw(0xc7, 0x03).imm32(0).raw(0x5b)
            parts[vector] = base + len(code)
            code += c.iret().bytes
        if bits == 64:
            # User code may be without rights to ports, which would be the next #GP, until the stack is gone.
            parts[13] = base + len(code)
            code += Code(64).raw(0xb0, 13, 0x88)._address(RAX, 0x7000e0).raw(0xeb, 0xf7).bytes
        self.step("poke 0x%x %s", base, code.hex())
        table = idt(bits, IDT, lambda v: parts.get(v, base + 8 * min(v, 31)))
        entry = {64: 16, 32: 8, 16: 4}[bits]
        self.step("poke 0x%x %s", IDT + 0x1000 * g.place, table[: 64 * entry].hex())
        self.step("%s idt 0x%x 0x%x", g.name, IDT + 0x1000 * g.place, 64 * entry - 1)

    def program(self, g):
        c = Code(g.bits)
        if g.bits != 16 and g.mode != "mode64 user" and self.chip != "none" and self.chance(.6):
            # the local APIC's software enable
            c.mov(RBX, 0xfee000f0).raw(0xc7, 0x03).imm32(0x1ff)
        count = self.r.randint(8, 22)
        for _ in range(count):
            self.snippet(g, c)
            if len(c.bytes) > 0xf00:
                break
        if g.takes_interrupts and g.mode != "mode64 user" and self.chance(.5):
            c.out_al(0x12).sti().hlt()
        self.step("poke 0x%x %s", CODE + 0x1000 * g.place, c.stop(0x11).hex())

    def special(self, g, c):
        """Instructions that KVM or the processor does not treat as the others."""
        r = self.r
        k = r.random()
        wide = g.bits != 16
        if k < .15 and g.takes_interrupts and g.mode != "mode64 user":
            c.raw(0xcd, r.choice((HVM_VECTOR, VCPU_VECTOR, 0x3e)))
        elif k < .35:
            # REP OUTSB, OUTS of a word, from the ports that polls name
            c.mov(RSI, 0xd400).mov(RDX, 0x40)
            c.mov(RCX, r.choice((0, 1, 2, 3))).raw(0xfc, 0xf3, 0x6e) if self.chance(.6) else c.raw(0x6f)
        elif k < .5:
            # REP INSB
            c.mov(RDI, 0xd080).mov(RCX, r.choice((0, 1, 2, 3))).mov(RDX, 0x40).raw(0xfc, 0xf3, 0x6c)
        elif k < .65 and wide:
            # REP MOVSB from and to what is nowhere
            source, target = r.choice(((0x700000, 0xd080), (0xd400, 0x700000), (0x700000, 0xd0000000), (0xd400, g.info + 4), (0xd400, SH + 0x800)))
            c.mov(RSI, source).mov(RDI, target).mov(RCX, r.choice((1, 2, 3))).raw(0xfc, 0xf3, 0xa4)
        elif k < .75 and wide:
            # XCHG, CMPXCHG and XADD of vcpu_info
            c.mov(RBX, g.info).mov(RAX, r.choice((0, 1))).mov(RCX, r.choice((0, 1)))
            c.raw(*r.choice(((0x86, 0x03), (0xf0, 0x0f, 0xb0, 0x0b), (0xf0, 0x0f, 0xc0, 0x03)))).out_al(0x10)
        elif k < .85 and g.mode != "mode64 user":
            # the TSC
            c.wrmsr(r.choice((0x10, 0x3b)), r.choice((0, 1 << 33)))
        else:
            # CPUID
            c.raw(0x0f, 0xa2).mov(RAX, 0x40000000).raw(0x0f, 0xa2).out_eax(0x10)

    def snippet(self, g, c):
        r = self.r
        if self.chance(.1):
            return self.special(g, c)
        k = r.random()
        if k < .55:
            self.hypercall(g, c)
        elif k < .60:
            c.wrmsr(self.r.choice((MSR, MSR, MSR, MSR + 1)), r.choice((0x20000, 0x20000, 0x21000, 0x20001, 0x1ff000, 0x700000, SH + 0x6000)))
        elif k < .66:
            c.raw(0xfb, 0x90) if g.takes_interrupts else c.nop()
        elif k < .70:
            c.cli()
        elif k < .75 and g.waits < 2 and g.takes_interrupts and g.mode != "mode64 user":
            g.waits += 1
            c.sti().hlt()
        elif k < .80:
            c.out_al(0x10)
        elif k < .83:
            r.choice((lambda: c.in_al(0x20), lambda: c.in_eax(0x30)))()
            c.out_eax(0x10)
        elif k < .86:
            c.load(r.choice((COUNT + 4 * g.place, g.info if g.info < 0x10000 else LOWINFO, 0xd400)))
            c.out_eax(0x10)
        elif k < .90 and g.bits != 16:
            # sets, clears or flips a bit of shared_info
            offset = r.choice((0x800, 0xa00, 0x880)) + 4 * r.randrange(4)
            c.mov(RBX, SH + offset).raw(0xf0, 0x0f, 0xba, r.choice((5, 6, 7)) << 3 | 3, r.randrange(32))
        elif k < .93 and g.bits != 16:
            # reads what is nowhere
            c.mov(RBX, r.choice((0x700000, 0xd0000000))).raw(0x8b, 0x03).out_eax(0x10)
        elif k < .95 and g.bits != 16:
            c.mov(RBX, r.choice((0x700000, 0xd0000000))).raw(0xc7, 0x03).imm32(r.getrandbits(32))
        elif k < .955:
            c.ud2()
        elif k < .97 and self.chip != "none" and g.bits != 16:
            # the local APIC: task priority, end of interrupt, an interrupt to oneself
            register, value = r.choice(((0x80, r.choice((0, 0x20, 0x30, 0xf0))), (0xb0, 0), (0x300, 0x40000 | r.choice((VCPU_VECTOR, 0x3e)))))
            c.mov(RBX, 0xfee00000 | register).raw(0xc7, 0x03).imm32(value)
        else:
            c.inc(COUNT + 0x20)

    def hypercall(self, g, c):
        r = self.r
        numbers = self.hypercall_arguments(g)
        if numbers is None:
            return
        number, arguments = numbers
        for register, value in zip(ARGUMENTS[g.bits], arguments):
            c.mov(register, value)
        how = r.random()
        if how < .12:
            at = r.choice((0x20000, 0x20000, 0x21000)) + 32 * (number & 127)
            if g.bits != 16 and number < 128:
                c.call_entry(at)
            else:
                c.mov(RAX, number).vmmcall()
        else:
            c.mov(RAX, number)
            c.vmcall() if how > .9 else c.vmmcall()
        if number == 15 and arguments[0] in (1 << 62, (1 << 64) - 1, 0x3fffffff00000000):
            self.disarm(g, c)  # such a timer fires in a tenth of a second
        if self.chance(.8):
            c.out_eax(0x10)

    def disarm(self, g, c):
        c.mov(ARGUMENTS[g.bits][0], 0).mov(ARGUMENTS[g.bits][1], 0).mov(RAX, 15).vmmcall()

    def pointer(self, kind):
        r = self.r
        if self.chance(.85):
            return r.choice(self.args[kind])
        return r.choice((0x1ffffe, 0x1ffff8, 0x700000, 0xfffffffc, 0, r.getrandbits(32), 0xfff0000000000000, 1 << 40))

    def hypercall_arguments(self, g):
        r = self.r
        k = r.random()
        if k < .10:
            return 17, (r.choice((0, 0, 0, 1, 6, 1 << 32)), self.pointer("send"))
        if k < .40:
            return 32, (r.choice((4, 4, 4, 4, 4, 5, 0, 13, 4 | 1 << 32)), self.pointer("send"))
        if k < .60:
            command = r.choice((0, 0, 1, 2, 3, 3, 3, 3, 5, 3 | 1 << 33))
            if command & 0xff == 3:
                if g.waits >= 3:
                    command = 0
                g.waits += 1
            return 29, (command, self.pointer("poll"))
        if k < .75:
            return 24, (r.choice((8, 8, 8, 9, 0, 6, 7)), r.choice((g.place, g.place, g.place, 0, 1, g.id)), self.pointer("timer"))
        if k < .83:
            if g.bits == 64:
                return 15, (r.choice((0, 1, 1, 1 << 62, (1 << 64) - 1)),)
            return 15, r.choice(((0, 0), (1, 0), (1, 0)))
        number = r.choice((0, 1, 12, 17, 20, 34, 39, 48, 127, r.getrandbits(31), (1 << 64) - 1, r.getrandbits(64) & ~(1 << 31)))
        return number, tuple(r.choice((0, 1, r.getrandbits(32), r.getrandbits(64))) for _ in range(6))

    # ---- what the host does

    def evtchn(self):
        r = self.r
        k = r.random()
        if k < .7:
            kind = r.choice((1, 2, 2, 2))
            port = self.port() if self.chance(.3) else r.randrange(1, 8)
            target = port if kind == 1 else r.choice((port, r.randrange(1, 64), self.port()))
            flags = r.choice((0, 0, 0, 0, 0, 1, 2, 2, 4, 3))
            self.step("hvm set EVTCHN %s", d(port, kind, flags, target, self.some_id(), PRIO if self.chance(.95) else 0))
        else:
            self.step("evtchn_fd %d 2 %d %d", r.randrange(1, 8), r.choice((0, 0, 0, 1)), r.choice((0, 1, 9)))

    def some_id(self):
        return self.r.choice([g.id for g in self.guests] * 3 + [7])

    def run(self, g):
        r = self.r
        # Long enough for a loaded machine: an exit that comes too late would read as -EINTR.
        self.step("%s run 1000", g.name)
        if self.chance(.3):
            self.step("%s result 0x%x", g.name, r.choice((0, 1, 0xffffffffffffffda, r.getrandbits(64))))
        if self.chance(.05):
            self.step("%s finish", g.name)
        if self.chance(.08):
            self.step("%s regs rax rsp rflags", g.name)

    def host_step(self):
        r = self.r
        g = r.choice(self.guests)
        k = r.random()
        if k < .42:
            self.run(g)
        elif k < .56:
            self.step("evtchn_send %d %d 0x%x", r.randrange(1, 70) if self.chance(.7) else self.port(), self.some_id(), PRIO)
        elif k < .60:
            self.evtchn()
        elif k < .70:
            self.attribute(g)
        elif k < .76:
            self.memory(g)
        elif k < .82:
            self.interrupts(g)
        elif k < .90:
            self.read(g)
        elif k < .93:
            kind = r.choice(("send", "send", "poll", "timer"))
            self.step("poke 0x%x %s", r.choice(self.args[kind]), self.argument(kind).hex())
        elif k < .95:
            self.step("sleep %d", r.choice((1, 5)))
        elif k < .965:
            self.step("migrate")
        elif k < .988:
            self.restart(g)
        else:
            self.clocks(g)

    def clocks(self, g):
        """What moves clocks, and dirty logging on and off."""
        r = self.r
        k = r.random()
        if k < .35:
            self.step("%s msr 0x10 %d", g.name, r.choice((0, 0, 0x123456789, 0x123456789, 1 << 50)))
        elif k < .45:
            self.step("%s msr 0x3b %d", g.name, r.choice((0, 5000)))
        elif k < .65:
            self.step("clock %d", r.choice((0, 10**9, 10**15)))
        else:
            self.slot_flags ^= 1
            self.step("slot 1 0xc0000000 0x8000 %d", self.slot_flags)
        if self.chance(.5):
            self.step("remap 0x%x", SH)

    def restart(self, g):
        """The vCPU begins a new program, perhaps in another mode of the same width."""
        r = self.r
        if g.bits == 64:
            mode = r.choice(("mode64", "mode64", "mode64 user"))
            if all(other is g or other.bits == 16 for other in self.guests):
                g.mode = mode
        self.step("%s %s", g.name, g.mode)
        g.waits = 0
        self.program(g)
        iopl = 0x3000 if g.mode == "mode64 user" else 0
        self.step("%s regs rip=0x%x rsp=0x%x rflags=0x%x", g.name, CODE + 0x1000 * g.place, STACK + 0x400 * g.place, 2 | iopl | (0x200 if g.takes_interrupts and self.chance(.5) else 0))

    def attribute(self, g):
        r = self.r
        k = r.random()
        if k < .12:
            self.step("hvm set LONG_MODE %02x", r.choice((0, 1)))
        elif k < .22:
            self.step("hvm set SHARED_INFO %s", q(r.choice((SH >> 12, SH >> 12, (SH >> 12) + 1, -1, 0x500))))
        elif k < .28:
            self.step("hvm set SHARED_INFO_HVA %s", r.choice(("@0xc0000000", "@0xc0000000", "@0xc0001000", q(0))))
        elif k < .36:
            self.step("hvm set UPCALL_VECTOR %02x", r.choice((HVM_VECTOR, HVM_VECTOR, 0, 0x3e)))
        elif k < .44:
            self.step("%s set UPCALL_VECTOR %02x", g.name, r.choice((VCPU_VECTOR, VCPU_VECTOR, 0, 0x3e)))
        elif k < .58:
            info = r.choice((g.info, g.info, g.info, SH + 0x1000 + 64 * g.place, SH + 0xfe0, -1, 0x500000)) if g.bits != 16 else g.info
            self.step("%s set VCPU_INFO %s", g.name, q(info))
            if info in (g.info, SH + 0x1000 + 64 * g.place) and self.chance(.9):
                self.step("poke 0x%x %s", POINTER + 4 * g.place, d(info))
        elif k < .63:
            self.step("%s set VCPU_INFO_HVA %s", g.name, r.choice(("@0x%x" % g.info, "@0x%x" % g.info, q(0))))
        elif k < .73:
            self.step("%s set RUNSTATE_ADDR %s", g.name, q(r.choice((self.runstate_place(), self.runstate_place(), -1))))
        elif k < .80:
            self.step("%s set RUNSTATE_CURRENT %s", g.name, q(r.choice((0, 1, 2, 3))))
        elif k < .84:
            t = [r.randrange(1000) for _ in range(4)]
            self.step("%s set %s %s", g.name, r.choice(("RUNSTATE_DATA", "RUNSTATE_ADJUST")), q(r.choice((0, 1, 2, 3, -1)), sum(t), *t))
        elif k < .88:
            self.step("hvm set RUNSTATE_UPDATE_FLAG %02x", r.randint(0, 1))
        elif k < .94:
            self.step("%s set TIMER %s", g.name, d(r.choice((13, 13, 0, 5, 1030)), PRIO) + q(r.choice((0, 1, 1, 1 << 62))))
        elif k < .97:
            self.step("%s set VCPU_TIME_INFO %s", g.name, q(r.choice((SH + 0x3000 + 64 * g.place, -1))))
        else:
            self.step("config 0x%x 0x%x", r.choice((0x22, 0x22, 0x2, 0)), r.choice((MSR, MSR, MSR + 1)))

    def memory(self, g):
        r = self.r
        k = r.random()
        if k < .3:
            self.step("remap 0x%x", r.choice((SH, SH, SH + 0x1000, SH + 0x4000)))
        elif k < .45:
            self.step("slot 1 0 0")
            if self.chance(.5):
                self.run(g)
            if self.chance(.3):
                self.step("evtchn_send %d %d 0x%x", r.randrange(1, 70), self.some_id(), PRIO)
            self.step("slot 1 0xc0000000 0x8000 %d", self.slot_flags)
        elif k < .55:
            self.step("slot %d 0xd0010000 0x%x", 3 + r.randrange(2), r.choice((0x1000, 0)))
        elif k < .75:
            self.step("poke 0x%x %s", g.info, r.choice(("01", "00" * 16, "01" + "00" * 7 + "01")))
        elif k < .9:
            self.step("poke 0x%x %s", SH + r.choice((0xa00, 0x880)), q(r.choice((0, 0, -1, r.getrandbits(64)))))
        else:
            self.step("poke 0x%x %s", SH + 0x800, "00" * 64)

    def interrupts(self, g):
        r = self.r
        k = r.random()
        if k < .3:
            routes = " ".join("%d:%d:%d:%d" % (gsi, r.randrange(1, 70), self.some_id(), PRIO) for gsi in (32, 33, 34))
            self.step("routing %s", routes)
        elif k < .4:
            self.step("route 32:5:%d:%d:%d 33:%s", r.randrange(1, 70), self.some_id(), PRIO if self.chance(.9) else 0,
                      r.choice(("2:%d:0:%d" % (0xfee00000 | g.id << 12, r.choice((VCPU_VECTOR, 0x3e))), "1:2:5", "5:4096:0:4294967295", "5:1:0:0", "5:9:77:4294967295")))
        elif k < .55:
            self.step("irqfd %d %d%s", r.randint(0, 1), r.choice((32, 33, 34, 5)), " x" if self.chance(.25) else "")
        elif k < .72:
            self.step("signal %d", r.randint(0, 1))
        elif k < .78:
            self.step("drain %d", r.randint(0, 1))
        elif k < .88:
            self.step("irqline %d %d", r.choice((32, 33, 34, 4000)), r.choice((0, 1, 1)))
        elif k < .93:
            self.step("msi 0x%x 0x%x", 0xfee00000 | g.id << 12, r.choice((VCPU_VECTOR, 0x3e)))
        elif k < .96:
            self.step("%s interrupt 0x3e", g.name)
        elif k < .98 and g.bits != 16:
            self.step("%s nmi", g.name)
        else:
            self.step("%s mpstate", g.name)

    def read(self, g):
        r = self.r
        k = r.random()
        if k < .25:
            self.step("hvm get %s", r.choice(HVM))
        elif k < .45:
            # the time that an armed timer is due is not random: it is never due
            self.step("%s get %s", g.name, r.choice(VCPU))
        elif k < .60:
            self.step("%s runstate", g.name)
        elif k < .70:
            self.step("dirty 1")
        elif k < .75:
            self.step("pvclock 0x%x", r.choice((g.info + 32, SH + 0x3000 + 64 * g.place)))
        elif k < .80:
            self.step("%s mpstate", g.name)
        elif k < .85:
            self.step("%s events", g.name)
        elif k < .90 and self.chip != "none":
            self.step("%s lapic 0x%x", g.name, r.choice((0x210, 0x110, 0x80, 0xf0)))
        elif k < .93:
            self.step("peek 0x%x %d", r.choice((0x20000, 0x20000 + 32 * 29, SH + 0x6000)), 64)
        elif k < .95:
            self.step("peek 0x%x 256", CODE + 0x1000 * g.place)
        else:
            self.look()

    def look(self):
        for g in self.guests:
            self.step("peek 0x%x 16", g.info)
        self.step("peek 0x%x 128", SH + 0x800)
        self.step("peek 0x%x 48", COUNT)


def wide(seed):
    return Wide(seed).scenario()

"""Machine code for the guests of random scenarios, put together without an assembler.

A Code is written for one mode of the processor: 64, 32 or 16 (bits of the code segment). Addresses
are below 2 GiB, and below 64 KiB in 16-bit code; registers are numbered as the processor does.
"""
import struct

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
R8, R9, R10, R12 = 8, 9, 10, 12
# Where Xen's calling convention has the arguments.
ARGUMENTS = {64: (RDI, RSI, RDX, R10, R8, R9), 32: (RBX, RCX, RDX, RSI, RDI, RBP), 16: (RBX, RCX, RDX, RSI, RDI, RBP)}


class Code:
    def __init__(self, bits):
        self.bits = bits
        self.bytes = b""

    def hex(self):
        return self.bytes.hex()

    def raw(self, *values):
        self.bytes += bytes(values)
        return self

    def imm32(self, value):
        self.bytes += struct.pack("<I", value & 0xffffffff)
        return self

    def _wide(self):
        """The prefix that makes an operand 32 bits wide."""
        if self.bits == 16:
            self.raw(0x66)

    def _address(self, reg_field, address):
        """ModRM for an absolute address."""
        if self.bits == 64:
            self.raw(reg_field << 3 | 4, 0x25).imm32(address)
        elif self.bits == 32:
            self.raw(reg_field << 3 | 5).imm32(address)
        else:
            self.raw(reg_field << 3 | 6)
            self.bytes += struct.pack("<H", address)
        return self

    def mov(self, register, value):
        """register := value: 64 bits in 64-bit code where the value needs them, else 32."""
        value &= (1 << 64) - 1
        if self.bits == 64 and (value >> 32):
            self.raw(0x49 if register >= 8 else 0x48, 0xb8 | register & 7)
            self.bytes += struct.pack("<Q", value)
            return self
        self._wide()
        if register >= 8:
            self.raw(0x41)
        return self.raw(0xb8 | register & 7).imm32(value)

    def store(self, address, value):
        """The 32-bit word at address := value."""
        self._wide()
        return self.raw(0xc7)._address(0, address).imm32(value)

    def load(self, address):
        """EAX := the 32-bit word at address."""
        self._wide()
        return self.raw(0x8b)._address(RAX, address)

    def store_eax(self, address):
        self._wide()
        return self.raw(0x89)._address(RAX, address)

    def inc(self, address):
        """Counts the 32-bit word at address up."""
        self._wide()
        return self.raw(0xff)._address(0, address)

    def bit(self, address, number, what):
        """LOCK BTS (what 5), BTR (6) or BTC (7) of the 32-bit word at address."""
        self.raw(0xf0)
        self._wide()
        return self.raw(0x0f, 0xba)._address(what, address).raw(number & 31)

    def out_al(self, port):
        return self.raw(0xe6, port)

    def out_eax(self, port):
        self._wide()
        return self.raw(0xe7, port)

    def in_al(self, port):
        return self.raw(0xe4, port)

    def in_eax(self, port):
        self._wide()
        return self.raw(0xe5, port)

    def vmmcall(self):
        return self.raw(0x0f, 0x01, 0xd9)

    def vmcall(self):
        return self.raw(0x0f, 0x01, 0xc1)

    def wrmsr(self, index, value):
        self.mov(RCX, index).mov(RAX, value & 0xffffffff).mov(RDX, value >> 32)
        return self.raw(0x0f, 0x30)

    def call_entry(self, address):
        """Calls an entry of a hypercall page if there is one, by its first byte. Not in 16-bit code."""
        call = Code(self.bits).mov(RAX, address).raw(0xff, 0xd0).bytes
        self.raw(0x80)._address(7, address).raw(0xb8, 0x75, len(call))
        self.bytes += call
        return self

    def sti(self):
        return self.raw(0xfb)

    def cli(self):
        return self.raw(0xfa)

    def nop(self):
        return self.raw(0x90)

    def hlt(self):
        return self.raw(0xf4)

    def ud2(self):
        return self.raw(0x0f, 0x0b)

    def push_eax(self):
        self._wide()
        return self.raw(0x50)

    def pop_eax(self):
        self._wide()
        return self.raw(0x58)

    def stop(self, port):
        """Leaves for the host again and again."""
        return self.raw(0xfa, 0xe6, port, 0xeb, 0xfc)

    def iret(self):
        if self.bits == 64:
            self.raw(0x48)
        return self.raw(0xcf)

    def clear_upcall(self, pointer, compat):
        """
        In the vcpu_info whose address is in the 32-bit word `pointer`: upcall_pending := 0 and
        pending_sel := 0. Uses EBX, which is kept. Not in 16-bit code.
        """
        if self.bits == 64:
            self.raw(0x53)  # push rbx
            self.raw(0x8b)._address(RBX, pointer)
            self.raw(0xc6, 0x03, 0x00)  # mov byte [rbx], 0
            if compat:
                self.raw(0xc7, 0x43, 4).imm32(0)
            else:
                self.raw(0x48, 0xc7, 0x43, 8).imm32(0)
            return self.raw(0x5b)
        self.raw(0x53, 0x8b)._address(RBX, pointer)
        self.raw(0xc6, 0x03, 0x00)
        self.raw(0xc7, 0x43, 4 if compat else 8).imm32(0)
        if not compat:
            self.raw(0xc7, 0x43, 12).imm32(0)
        return self.raw(0x5b)


def idt(bits, base, handlers):
    """A descriptor table for all 256 vectors: bytes; `handlers` gives the address for a vector."""
    table = b""
    for vector in range(256):
        at = handlers(vector)
        if bits == 64:
            table += struct.pack("<HHBBHII", at & 0xffff, 8, 0, 0x8e, at >> 16 & 0xffff, 0, 0)
        elif bits == 32:
            table += struct.pack("<HHBBH", at & 0xffff, 8, 0, 0x8e, at >> 16 & 0xffff)
        else:
            table += struct.pack("<HH", at, 0)
    return table

/*
 * Instructions with two operands in memory, both where no slot is: the order of the exits, and what the
 * registers hold at each.
 */
#define _GNU_SOURCE
#include "machine.h"

#define DS_BASE 0x100000
#define ES_BASE 0x200000
#define SS_BASE 0x300000

/* Runs `bytes` to its HLT; reads give 0x11 in each byte. `sp`: where the stack is, SS has its own base. */
static void trace(const char *what, const char *bytes, size_t size, int flags) {
  struct machine m = new_machine(NULL);
  struct kvm_sregs sregs;
  must("get sregs", ioctl(m.vcpu, KVM_GET_SREGS, &sregs));
  sregs.ds.base = DS_BASE;
  sregs.es.base = ES_BASE;
  sregs.ss.base = SS_BASE;
  must("set sregs", ioctl(m.vcpu, KVM_SET_SREGS, &sregs));
  struct kvm_regs regs = {.rip = CODE, .rflags = 2 | flags, .rsp = 0x80, .rbp = 0x60, .rsi = 0x10, .rdi = 0x20, .rcx = 2, .rdx = 0x70};
  must("set regs", ioctl(m.vcpu, KVM_SET_REGS, &regs));
  code(&m, bytes, size);
  m.memory[0x1111] = 0xf4;
  for (int i = 0; i < 12; i++) {
    int result = ioctl(m.vcpu, KVM_RUN, 0);
    int error = errno;
    must("get regs", ioctl(m.vcpu, KVM_GET_REGS, &regs));
    printf("%s: ", what);
    if (result < 0) printf("-%s ", name_of(error));
    printf("rip %llx flags %llx cx %llx si %llx di %llx sp %llx bp %llx ", regs.rip, regs.rflags, regs.rcx, regs.rsi, regs.rdi, regs.rsp, regs.rbp);
    struct kvm_run *run = m.run;
    if (run->exit_reason == KVM_EXIT_MMIO) {
      printf("%s %llx %d", run->mmio.is_write ? "write" : "read", run->mmio.phys_addr, run->mmio.len);
      if (run->mmio.is_write)
        for (unsigned k = 0; k < run->mmio.len; k++) printf(" %02x", run->mmio.data[k]);
      else
        memset(run->mmio.data, 0x11, 8);
      printf("\n");
    } else if (run->exit_reason == KVM_EXIT_IO) {
      printf("%s port %x %d times %d\n", run->io.direction ? "out" : "in", run->io.port, run->io.size, run->io.count);
      if (!run->io.direction) memset((uint8_t *)run + run->io.data_offset, 0x22, run->io.size * run->io.count);
    } else {
      printf("exit %d\n", run->exit_reason);
      break;
    }
    if (result < 0) break;
  }
  end_machine(&m);
}
#define TRACE(what, bytes) trace(what, bytes, sizeof bytes - 1, 0)
#define BACKWARDS(what, bytes) trace(what, bytes, sizeof bytes - 1, 0x400)

static void compares(void) {
  TRACE("cmpsb", "\xa6\xf4");
  TRACE("cmpsw", "\xa7\xf4");
  TRACE("cmpsd", "\x66\xa7\xf4");
  TRACE("repe cmpsb", "\xf3\xa6\xf4");
  TRACE("repne cmpsw", "\xf2\xa7\xf4");
  TRACE("repe scasb", "\xf3\xae\xf4");
  TRACE("repne scasw", "\xf2\xaf\xf4");
  BACKWARDS("repe cmpsw", "\xf3\xa7\xf4");
}

static void moves(void) {
  TRACE("movsb", "\xa4\xf4");
  TRACE("movsd", "\x66\xa5\xf4");
  TRACE("lodsw", "\xad\xf4");
  TRACE("stosw", "\xab\xf4");
  TRACE("rep stosb", "\xf3\xaa\xf4");
  TRACE("rep lodsb", "\xf3\xac\xf4");
}

static void stack(void) {
  TRACE("push m", "\xff\x36\x00\x00\xf4");
  TRACE("pop m", "\x8f\x06\x00\x00\xf4");
  TRACE("call m", "\xff\x16\x00\x00\xf4");
  TRACE("jmp m", "\xff\x26\x00\x00\xf4");
  TRACE("ret", "\xc3");
  TRACE("leave", "\xc9\xf4");
  TRACE("push", "\x50\xf4");
}

static void changes(void) {
  TRACE("xchg", "\x86\x06\x00\x00\xf4");
  TRACE("xadd", "\x0f\xc1\x06\x00\x00\xf4");
  TRACE("add", "\x01\x06\x00\x00\xf4");
  TRACE("cmpxchg", "\x0f\xb1\x0e\x00\x00\xf4");
  TRACE("inc", "\xff\x06\x00\x00\xf4");
  TRACE("not", "\xf6\x16\x00\x00\xf4");
}

static void ports(void) {
  TRACE("insb", "\x6c\xf4");
  TRACE("outsw", "\x6f\xf4");
}

static const struct part parts[] = {
    {"compares", compares}, {"moves", moves}, {"stack", stack}, {"changes", changes}, {"ports", ports},
};

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IOLBF, 0);
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}

/* What KVM says about code that is in no memory: internal.data. */
#define _GNU_SOURCE
#include "machine.h"

/* All of the union is 0xcc before the run: what stays is not written. */
static void run_and_show(const char *what, struct machine *m) {
  memset(&m->run->internal, 0xcc, sizeof m->run->internal);
  int result = ioctl(m->vcpu, KVM_RUN, 0);
  printf("%s: %d exit %u", what, result, m->run->exit_reason);
  if (m->run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
    printf(" suberror %u ndata %u:", m->run->internal.suberror, m->run->internal.ndata);
    for (int i = 0; i < 9; i++) printf(" %llx", (unsigned long long)m->run->internal.data[i]);
  }
  printf("\n");
}

static void enter_with(struct machine *m, uint64_t base, uint64_t rip) {
  enter_at(m->vcpu, rip);
  struct kvm_sregs sregs;
  must("get sregs", ioctl(m->vcpu, KVM_GET_SREGS, &sregs));
  sregs.cs.base = base;
  sregs.cs.selector = base >> 4;
  must("set sregs", ioctl(m->vcpu, KVM_SET_SREGS, &sregs));
}

static void part_reached(void) {
  struct machine m = new_machine(NULL);
  enter_with(&m, 0x20000, 0x123);
  run_and_show("entered", &m);
  enter_with(&m, 0, CODE);
  CODE_IS(&m, "\xea\x34\x02\x00\x30");
  run_and_show("after a jump", &m);
  enter_with(&m, 0x8000, 0x7ff0);
  memset(m.memory + 0xfff0, 0x90, 16);
  run_and_show("behind the last instruction", &m);
  end_machine(&m);
}

static void part_begun(void) {
  struct machine m = new_machine(NULL);
  enter_with(&m, 0x8000, 0x7ffe);
  memcpy(m.memory + 0xfffe, "\xb8\x12", 2);
  run_and_show("two bytes", &m);
  end_machine(&m);
  /* A new machine: of a page that it has missed before KVM has a mark, which the error code shows. */
  m = new_machine(NULL);
  enter_with(&m, 0x8000, 0x7ff6);
  memcpy(m.memory + 0xfff6, "\x26\x26\x26\x26\x26\x26\x26\x26\x26\xb8", 10);
  run_and_show("ten bytes", &m);
  end_machine(&m);
}

static const struct part parts[] = {
    {"reached", part_reached},
    {"begun", part_begun},
};

int main(int argc, char **argv) {
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}

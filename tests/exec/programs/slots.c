/*
 * A KVM client with more slots than most, over a small part of a mapping that is larger than what a VM
 * can have here. slots.out is what it printed on Linux 6.12 (`ask-linux slots`).
 *
 *   gcc -O2 -o slots slots.c && ./slots
 */
#define _GNU_SOURCE
#include "machine.h"

#define COUNT 600
#define EACH 0x100000ul
/* From one slot to the next, in the client and in the guest. */
#define STRIDE 0x800000ul
#define GPA(n) (0x10000000ul + (n) * 0x200000ul)
#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* mov al,[ebx]; out 10h,al; inc byte [ebx]; hlt */
static const char touch[] = "\x8a\x03\xe6\x10\xfe\x03\xf4";

/* 32-bit code, flat segments. */
static void flat(struct machine *m) {
  struct kvm_sregs sregs;
  must("get sregs", ioctl(m->vcpu, KVM_GET_SREGS, &sregs));
  struct kvm_segment segment = {
      .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1};
  sregs.cs = segment;
  segment.type = 3;
  segment.selector = 16;
  sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = segment;
  sregs.cr0 |= 1;
  must("set sregs", ioctl(m->vcpu, KVM_SET_SREGS, &sregs));
}

static void access_at(struct machine *m, const char *what, uint64_t gpa) {
  struct kvm_regs regs = {.rip = CODE, .rflags = 2, .rbx = gpa};
  must("set regs", ioctl(m->vcpu, KVM_SET_REGS, &regs));
  must("run", ioctl(m->vcpu, KVM_RUN, 0));
  if (m->run->exit_reason == KVM_EXIT_IO) {
    printf("%s: 0x%x", what, *((uint8_t *)m->run + m->run->io.data_offset));
    must("run", ioctl(m->vcpu, KVM_RUN, 0));
    printf(", exit %d\n", m->run->exit_reason);
  } else {
    printf("%s: exit %d\n", what, m->run->exit_reason);
    m->run->immediate_exit = 1; /* ends the access */
    ioctl(m->vcpu, KVM_RUN, 0);
    m->run->immediate_exit = 0;
  }
}

int main(void) {
  puts("-- slots");
  struct machine m = new_machine(NULL);
  code(&m, touch, sizeof touch - 1);
  flat(&m);
  uint8_t *wide = mmap(NULL, 8ul << 30, RW, PRIVATE, -1, 0);
  must("mmap", wide == MAP_FAILED ? -1 : 0);
  madvise(wide, 8ul << 30, MADV_NOHUGEPAGE); /* a byte in each slot is not to take 2 MiB */
  for (int n = 0; n < COUNT; n++) {
    wide[n * STRIDE + 8] = (uint8_t)n;
    must("slot", set_slot(&m, n + 1, GPA(n), wide + n * STRIDE, EACH));
  }
  static const int some[] = {0, 510, 511, 512, 599};
  for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
    int n = some[i];
    wide[n * STRIDE + 8]++;
    access_at(&m, "slot", GPA(n) + 8);
    printf("client sees 0x%x\n", wide[n * STRIDE + 8]);
  }
  access_at(&m, "between slots", GPA(599) + EACH);

  wide[0x300008] = 0x5a;
  show("a part no slot uses", wide[0x300008]);
  mmap(wide + 599 * STRIDE, EACH, RW, PRIVATE | MAP_FIXED, -1, 0);
  access_at(&m, "other memory behind a slot", GPA(599) + 8);
  mmap(wide + 598 * STRIDE, EACH, RW, PRIVATE | MAP_FIXED, -1, 0);
  access_at(&m, "other memory before the first access", GPA(598) + 8);

  struct kvm_userspace_memory_region logged = {.slot = 551,
                                               .flags = KVM_MEM_LOG_DIRTY_PAGES,
                                               .guest_phys_addr = GPA(550),
                                               .memory_size = EACH,
                                               .userspace_addr = (uintptr_t)(wide + 550 * STRIDE)};
  show("logging", ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &logged));
  access_at(&m, "logged", GPA(550) + 0x3008);
  uint64_t pages[EACH / 4096 / 64] = {0};
  struct kvm_dirty_log log = {.slot = 551, .dirty_bitmap = pages};
  show("log", ioctl(m.vm, KVM_GET_DIRTY_LOG, &log));
  printf("written pages: 0x%lx\n", (unsigned long)pages[0]);

  show("overlap", set_slot(&m, 700, GPA(550) + 0x1000, wide, 0x1000));
  show("other backing", set_slot(&m, 550, GPA(549), wide, EACH));
  show("move", set_slot(&m, 550, GPA(700), wide + 549 * STRIDE, EACH));
  access_at(&m, "moved", GPA(700) + 8);
  access_at(&m, "where it was", GPA(549) + 8);
  show("delete", set_slot(&m, 550, 0, NULL, 0));
  access_at(&m, "deleted", GPA(700) + 8);
  show("again", set_slot(&m, 550, GPA(700), wide + 599 * STRIDE, EACH));
  access_at(&m, "the memory of two slots", GPA(700) + 8);
  munmap(wide, 8ul << 30);
  access_at(&m, "RAM", 0x3000);
  code(&m, "\xe6\x11", 2);
  enter_at(m.vcpu, CODE);
  flat(&m);
  run_once("out", &m);
  end_machine(&m);
  return 0;
}

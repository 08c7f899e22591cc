/*
 * Guest memory that the client cannot access itself: nothing mapped, PROT_NONE, read only, behind the end
 * of a file; and what is accessible again. access.out is what this printed on Linux 6.12
 * (`ask-linux access`).
 *
 *   gcc -O2 -pthread -o access access.c && ./access [PART...]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>

#include "machine.h"

#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

/* mov al,[3000h]; out 10h,al; jmp back */
static const char reads[] = "\xa0\x00\x30\xe6\x10\xeb\xf9";
/* mov byte [3000h],77h; out 10h,al; jmp back */
static const char writes[] = "\xc6\x06\x00\x30\x77\xe6\x10\xeb\xf7";
/* inc byte [3000h]; mov al,[3000h]; out 10h,al; jmp back */
static const char counts[] = "\xfe\x06\x00\x30\xa0\x00\x30\xe6\x10\xeb\xf5";

static void run_at(const char *what, struct machine *m) {
  struct kvm_regs regs;
  run_once(what, m);
  must("get regs", ioctl(m->vcpu, KVM_GET_REGS, &regs));
  printf("  rip %llx rsp %llx rcx %llx rsi %llx rdi %llx\n", regs.rip, regs.rsp, regs.rcx, regs.rsi,
         regs.rdi);
}

static void again(struct machine *m, const char *bytes, size_t size) {
  code(m, bytes, size);
  enter_at(m->vcpu, CODE);
}
#define AGAIN(m, text) again(m, text, sizeof text - 1)

static void part_unmapped(void) {
  uint8_t *memory = mmap(NULL, SIZE, RW, PRIVATE, -1, 0);
  munmap(memory + 0x3000, 0x1000);
  struct machine m = new_machine(memory);
  AGAIN(&m, reads);
  run_at("read", &m);
  run_at("read again", &m);
  mmap(memory + 0x3000, 0x1000, RW, PRIVATE | MAP_FIXED, -1, 0);
  memory[0x3000] = 0x11;
  run_at("mapped", &m);
  munmap(memory + 0x3000, 0x1000);
  run_at("unmapped", &m);
  AGAIN(&m, writes);
  run_at("write", &m);
  mmap(memory + 0x3000, 0x1000, RW, PRIVATE | MAP_FIXED, -1, 0);
  run_at("mapped", &m);
  printf("written %x\n", memory[0x3000]);
  /* All of a slot, and a slot over nothing. */
  uint8_t *other = mmap(NULL, 0x4000, RW, PRIVATE, -1, 0);
  munmap(other, 0x4000);
  show("slot over nothing", set_slot(&m, 1, 0x20000, other, 0x4000));
  struct kvm_sregs sregs;
  ioctl(m.vcpu, KVM_GET_SREGS, &sregs);
  sregs.ds.base = 0x20000 - 0x3000;
  AGAIN(&m, reads);
  ioctl(m.vcpu, KVM_SET_SREGS, &sregs);
  run_at("slot over nothing", &m);
  mmap(other, 0x4000, RW, PRIVATE | MAP_FIXED, -1, 0);
  other[0] = 0x22;
  run_at("mapped", &m);
  end_machine(&m);
}

static void part_protected(void) {
  struct machine m = new_machine(NULL);
  uint8_t *page = m.memory + 0x3000;
  *page = 0x31;
  AGAIN(&m, counts);
  run_at("accessible", &m);
  mprotect(page, 0x1000, PROT_NONE);
  run_at("none", &m);
  run_at("none", &m);
  mprotect(page, 0x1000, PROT_READ);
  run_at("read only", &m);
  AGAIN(&m, reads);
  run_at("read only, read", &m);
  mprotect(page, 0x1000, RW);
  AGAIN(&m, counts);
  run_at("accessible", &m);
  printf("memory %x\n", *page);
  /* More than one page, and parts of it. */
  mprotect(m.memory + 0x2000, 0x4000, PROT_NONE);
  mprotect(m.memory + 0x2000, 0x1000, RW);
  run_at("part", &m);
  mprotect(m.memory + 0x3000, 0x1000, RW);
  run_at("part", &m);
  mprotect(m.memory + 0x4000, 0x2000, RW);
  end_machine(&m);
  /* Not readable from the start. */
  uint8_t *memory = mmap(NULL, SIZE, PROT_NONE, PRIVATE, -1, 0);
  mprotect(memory, 0x2000, RW);
  m = new_machine(memory);
  AGAIN(&m, counts);
  run_at("none from the start", &m);
  mprotect(memory + 0x3000, 0x1000, PROT_READ);
  run_at("read only then", &m);
  mprotect(memory + 0x3000, 0x1000, RW);
  run_at("accessible then", &m);
  end_machine(&m);
}

static void part_file(void) {
  int fd = memfd_create("guest", 0);
  ftruncate(fd, 0x3000);
  uint8_t *file = mmap(NULL, 0x4000, RW, MAP_SHARED, fd, 0);
  struct machine m = new_machine(NULL);
  show("slot", set_slot(&m, 1, 0x20000, file, 0x4000));
  struct kvm_sregs sregs;
  ioctl(m.vcpu, KVM_GET_SREGS, &sregs);
  sregs.ds.base = 0x20000;
  AGAIN(&m, counts);
  ioctl(m.vcpu, KVM_SET_SREGS, &sregs);
  run_at("behind the end", &m);
  ftruncate(fd, 0x4000);
  run_at("longer", &m);
  printf("memory %x\n", file[0x3000]);
  ftruncate(fd, 0x1000);
  run_at("shorter", &m);
  ftruncate(fd, 0x4000);
  run_at("longer", &m);
  close(fd);
  end_machine(&m);
}

static void part_instructions(void) {
  struct machine m = new_machine(NULL);
  mprotect(m.memory + 0x3000, 0x1000, PROT_NONE);
  /* jmp 3000h */
  AGAIN(&m, "\xe9\xfd\x1f");
  run_at("jump", &m);
  mprotect(m.memory + 0x3000, 0x1000, RW);
  memcpy(m.memory + 0x3000, "\xe6\x20\xf4", 3);
  mprotect(m.memory + 0x3000, 0x1000, PROT_READ);
  run_at("code", &m);
  run_at("halt", &m);
  enter_at(m.vcpu, 0x3000);
  mprotect(m.memory + 0x3000, 0x1000, PROT_NONE);
  run_at("code gone", &m);
  /* mov sp,4004h; push ax; push bx; push cx */
  AGAIN(&m, "\xbc\x04\x40\x50\x53\x51\xf4");
  run_at("stack", &m);
  mprotect(m.memory + 0x3000, 0x1000, RW);
  run_at("stack", &m);
  mprotect(m.memory + 0x3000, 0x1000, PROT_NONE);
  /* mov word [2fffh],1234h */
  m.memory[0x2fff] = 0;
  AGAIN(&m, "\xc7\x06\xff\x2f\x34\x12\xf4");
  run_at("across", &m);
  printf("first byte %x\n", m.memory[0x2fff]);
  /* mov cx,20h; mov si,2ff0h; mov di,5000h; rep movsb */
  AGAIN(&m, "\xb9\x20\x00\xbe\xf0\x2f\xbf\x00\x50\xf3\xa4\xf4");
  run_at("rep movsb from", &m);
  run_at("rep movsb from", &m);
  /* mov cx,20h; mov si,5000h; mov di,2ff0h; rep movsb */
  AGAIN(&m, "\xb9\x20\x00\xbe\x00\x50\xbf\xf0\x2f\xf3\xa4\xf4");
  run_at("rep movsb to", &m);
  mprotect(m.memory + 0x3000, 0x1000, RW);
  run_at("rep movsb to", &m);
  mprotect(m.memory + 0x3000, 0x1000, PROT_NONE);
  /* int 3 whose handler is there, with a stack that is not: mov sp,3110h; int3 */
  memcpy(m.memory + 3 * 4, "\x00\x40\x00\x00", 4);
  memcpy(m.memory + 0x4000, "\xe6\x33\xf4", 3);
  AGAIN(&m, "\xbc\x10\x31\xcc\xf4");
  run_at("int3", &m);
  mprotect(m.memory + 0x3000, 0x1000, RW);
  run_at("int3", &m);
  end_machine(&m);
}

/* Strings to ports are done by the kernel itself, which takes such memory for a device. */
static void part_strings(void) {
  struct machine m = new_machine(NULL);
  m.memory[0x2fff] = 1;
  mprotect(m.memory + 0x3000, 0x1000, PROT_NONE);
  /* mov dx,80h; mov si,3000h; outsb */
  AGAIN(&m, "\xba\x80\x00\xbe\x00\x30\x6e\xf4");
  run_at("outsb", &m);
  run_once("outsb", &m);
  /* mov dx,80h; mov di,3000h; insb */
  AGAIN(&m, "\xba\x80\x00\xbf\x00\x30\x6c\xf4");
  run_at("insb", &m);
  run_at("insb", &m);
  run_at("insb", &m);
  end_machine(&m);
}

/* Paging: tables that are not there. */
static void part_tables(void) {
  struct machine m = new_machine(NULL);
  uint32_t *directory = (uint32_t *)(m.memory + 0x3000), *table = (uint32_t *)(m.memory + 0x4000);
  directory[0] = 0x4000 | 7;
  for (uint32_t i = 0; i < 16; i++) table[i] = i << 12 | 7;
  struct kvm_sregs sregs;
  ioctl(m.vcpu, KVM_GET_SREGS, &sregs);
  sregs.cr0 = 0x80000011;
  sregs.cr3 = 0x3000;
  struct kvm_segment flat = {.limit = 0xffffffff, .type = 11, .present = 1, .s = 1, .g = 1, .db = 1};
  flat.selector = 8;
  sregs.cs = flat;
  flat.type = 3;
  flat.selector = 16;
  sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = flat;
  must("set sregs", ioctl(m.vcpu, KVM_SET_SREGS, &sregs));
  /* mov al,[5000h]; out 10h,al; hlt */
  code(&m, "\xa0\x00\x50\x00\x00\xe6\x10\xf4", 8);
  m.memory[0x5000] = 0x55;
  mprotect(m.memory + 0x3000, 0x1000, PROT_NONE);
  run_at("no directory", &m);
  mprotect(m.memory + 0x3000, 0x1000, RW);
  mprotect(m.memory + 0x4000, 0x1000, PROT_NONE);
  run_at("no table", &m);
  mprotect(m.memory + 0x4000, 0x1000, RW);
  run_at("both", &m);
  printf("accessed %x %x\n", directory[0], table[5]);
  end_machine(&m);
}

static void *unmaps(void *memory) {
  struct timespec soon = {.tv_nsec = 80000000};
  nanosleep(&soon, NULL);
  if (munmap(memory, 0x1000)) puts("munmap failed");
  return NULL;
}

/* While the guest runs. */
static void part_meanwhile(void) {
  struct machine m = new_machine(NULL);
  /* mov al,[3000h]; jmp back */
  AGAIN(&m, "\xa0\x00\x30\xeb\xfb");
  pthread_t thread;
  pthread_create(&thread, NULL, unmaps, m.memory + 0x3000);
  run_once("unmapped meanwhile", &m);
  pthread_join(thread, NULL);
  mmap(m.memory + 0x3000, 0x1000, RW, PRIVATE | MAP_FIXED, -1, 0);
  pthread_create(&thread, NULL, unmaps, m.memory + 0x1000);
  run_once("code unmapped meanwhile", &m);
  pthread_join(thread, NULL);
  end_machine(&m);
}

static int hvm_attr(struct machine *m, int type, uint64_t value) {
  struct kvm_xen_hvm_attr attr = {.type = (uint16_t)type};
  attr.u.shared_info.gfn = value;
  return ioctl(m->vm, KVM_XEN_HVM_SET_ATTR, &attr);
}

static int vcpu_attr(struct machine *m, int type, uint64_t value) {
  struct kvm_xen_vcpu_attr attr = {.type = (uint16_t)type};
  attr.u.gpa = value;
  return ioctl(m->vcpu, KVM_XEN_VCPU_SET_ATTR, &attr);
}

static int send_event(struct machine *m, int port) {
  struct kvm_irq_routing_xen_evtchn event = {.port = (uint32_t)port, .vcpu = 0, .priority = ~0u};
  return ioctl(m->vm, KVM_XEN_HVM_EVTCHN_SEND, &event);
}

static void part_xen(void) {
  struct machine m = new_machine(NULL);
  struct kvm_xen_hvm_config config = {
      .flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | KVM_XEN_HVM_CONFIG_EVTCHN_SEND,
      .msr = 0x40000000};
  show("config", ioctl(m.vm, KVM_XEN_HVM_CONFIG, &config));
  uint8_t *page = m.memory + 0x3000;
  mprotect(page, 0x1000, PROT_NONE);
  show("shared info", hvm_attr(&m, KVM_XEN_ATTR_TYPE_SHARED_INFO, 3));
  show("vcpu info", vcpu_attr(&m, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, 0x3000));
  show("time info", vcpu_attr(&m, KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, 0x3100));
  show("runstate", vcpu_attr(&m, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR, 0x3200));
  mprotect(page, 0x1000, RW);
  show("shared info", hvm_attr(&m, KVM_XEN_ATTR_TYPE_SHARED_INFO, 3));
  show("vcpu info", vcpu_attr(&m, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, 0x4000));
  show("time info", vcpu_attr(&m, KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, 0x4100));
  show("runstate", vcpu_attr(&m, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR, 0x4200));
  show("event", send_event(&m, 5));
  mprotect(page, 0x1000, PROT_NONE);
  show("event, no shared info", send_event(&m, 6));
  mprotect(page, 0x1000, RW);
  show("event", send_event(&m, 7));
  printf("pending %x\n", page[0x800]);
  mprotect(m.memory + 0x4000, 0x1000, PROT_NONE);
  show("event, no vcpu info", send_event(&m, 8));
  AGAIN(&m, "\xe6\x10\xf4");
  run_at("run, no vcpu info", &m);
  mprotect(m.memory + 0x4000, 0x1000, RW);
  show("event", send_event(&m, 9));
  printf("pending %x %x, upcall %x\n", page[0x800], page[0x801], m.memory[0x4000]);
  munmap(page, 0x1000);
  show("shared info, unmapped", hvm_attr(&m, KVM_XEN_ATTR_TYPE_SHARED_INFO, 3));
  show("long mode", hvm_attr(&m, KVM_XEN_ATTR_TYPE_LONG_MODE, 1));
  end_machine(&m);
}

static int set_msr(struct machine *m, uint32_t index, uint64_t data) {
  struct {
    struct kvm_msrs msrs;
    struct kvm_msr_entry entry;
  } one = {.msrs.nmsrs = 1, .entry = {.index = index, .data = data}};
  return ioctl(m->vcpu, KVM_SET_MSRS, &one);
}

/* What KVM itself writes and reads for the guest. */
static void part_kernel(void) {
  struct machine m = new_machine(NULL);
  struct kvm_xen_hvm_config config = {
      .flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | KVM_XEN_HVM_CONFIG_EVTCHN_SEND,
      .msr = 0x40000000};
  must("config", ioctl(m.vm, KVM_XEN_HVM_CONFIG, &config));
  show("shared info", hvm_attr(&m, KVM_XEN_ATTR_TYPE_SHARED_INFO, 6));
  show("vcpu info", vcpu_attr(&m, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, 0x7000));
  mprotect(m.memory + 0x3000, 0x1000, PROT_NONE);
  show("hypercall page", set_msr(&m, 0x40000000, 0x3000));
  show("wall clock", set_msr(&m, 0x11, 0x3000));
  show("kvmclock", set_msr(&m, 0x12, 0x3001));
  AGAIN(&m, "\xe6\x10\xf4");
  run_once("with these", &m);
  run_once("halt", &m);
  mprotect(m.memory + 0x3000, 0x1000, PROT_READ);
  show("hypercall page, read only", set_msr(&m, 0x40000000, 0x3000));
  mprotect(m.memory + 0x3000, 0x1000, PROT_READ | PROT_WRITE);
  show("hypercall page", set_msr(&m, 0x40000000, 0x3000));
  printf("first byte %x\n", m.memory[0x3000]);
  struct kvm_pre_fault_memory {
    uint64_t gpa, size, flags, padding[5];
  } range = {.gpa = 0x2000, .size = 0x4000};
  mprotect(m.memory + 0x4000, 0x1000, PROT_NONE);
  show("fault in", ioctl(m.vcpu, _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory), &range));
  printf("left %llx from %llx\n", (unsigned long long)range.size, (unsigned long long)range.gpa);
  show("fault in", ioctl(m.vcpu, _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory), &range));
  /* A structure that a hypercall names: mov eax,32; mov ebx,4; mov ecx,4000h; vmmcall; out 10h,al */
  AGAIN(&m, "\x66\xb8\x20\0\0\0\x66\xbb\x04\0\0\0\x66\xb9\0\x40\0\0\x0f\x01\xd9\xe6\x10");
  run_once("hypercall", &m);
  if (m.run->exit_reason == KVM_EXIT_XEN)
    printf("input %llu %llx\n", m.run->xen.u.hcall.input, m.run->xen.u.hcall.params[1]);
  end_machine(&m);
}

static const struct part parts[] = {
    {"unmapped", part_unmapped}, {"protected", part_protected}, {"file", part_file},
    {"instructions", part_instructions}, {"strings", part_strings}, {"tables", part_tables},
    {"meanwhile", part_meanwhile}, {"xen", part_xen}, {"kernel", part_kernel},
};

int main(int argc, char **argv) {
  return run_parts(parts, sizeof parts / sizeof *parts, argc, argv);
}

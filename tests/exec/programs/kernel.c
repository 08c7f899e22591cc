/*
 * What the kernel's own selftests found: a KVM client as client.c, with answers in kernel.out.
 *
 *   gcc -O2 -pthread -o kernel kernel.c && ./kernel [PART...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 0x10000
#define CODE 0x1000

static int kvm, vm, vcpu;
static uint8_t *memory;
static struct kvm_run *run;

static void must(const char *what, long result) {
  if (result >= 0) return;
  printf("%s: -%s, giving up\n", what, strerrorname_np(errno));
  exit(1);
}

static void new_machine(void) {
  must("open", kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC));
  must("create vm", vm = ioctl(kvm, KVM_CREATE_VM, 0));
  memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct kvm_userspace_memory_region region = {.memory_size = SIZE,
                                               .userspace_addr = (uintptr_t)memory};
  must("slot", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
  must("create vcpu", vcpu = ioctl(vm, KVM_CREATE_VCPU, 3));
  run = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  must("mmap", run == MAP_FAILED ? -1 : 0);
  struct kvm_sregs sregs;
  must("get sregs", ioctl(vcpu, KVM_GET_SREGS, &sregs));
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  must("set sregs", ioctl(vcpu, KVM_SET_SREGS, &sregs));
}

static void end_machine(void) {
  munmap(run, 12288);
  munmap(memory, SIZE);
  close(vcpu);
  close(vm);
  close(kvm);
}

/* REP INS: how much a client is asked for at once. */
static void part_strings(void) {
  static const struct {
    const char *name, *code;
    unsigned count, address, flags;
  } cases[] = {
      {"insb", "\xf3\x6c\xf4", 3000, 0x2ff0, 2},    {"insw", "\xf3\x6d\xf4", 600, 0x2000, 2},
      {"border", "\xf3\x6d\xf4", 20, 0x2ffb, 2},    {"down", "\xf3\x6c\xf4", 20, 0x2003, 0x402},
      {"alone", "\x6c\xf4", 5, 0x2000, 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    new_machine();
    memcpy(memory + CODE, cases[i].code, strlen(cases[i].code));
    struct kvm_regs regs = {.rip = CODE,
                            .rflags = cases[i].flags,
                            .rcx = cases[i].count,
                            .rdi = cases[i].address,
                            .rdx = 0x80};
    must("set regs", ioctl(vcpu, KVM_SET_REGS, &regs));
    printf("%s:", cases[i].name);
    for (;;) {
      must("run", ioctl(vcpu, KVM_RUN, 0));
      must("get regs", ioctl(vcpu, KVM_GET_REGS, &regs));
      if (run->exit_reason != KVM_EXIT_IO) break;
      printf(" %u of %llu at %llx,", run->io.count, regs.rcx, regs.rdi);
      memset((char *)run + run->io.data_offset, 0xaa, 1024);
    }
    printf(" exit %u left %llu at %llx\n", run->exit_reason, regs.rcx, regs.rdi);
    end_machine();
  }
}

static volatile int calls;

static void *keeps_calling(void *unused) {
  (void)unused;
  for (int i = 0; i < 20000; i++) {
    int before = calls;
    ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY);
    ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY);
    calls = before + 2;
    pthread_testcancel();
  }
  return NULL;
}

/* ioctl() is no place at which a thread can be cancelled. */
static void part_cancel(void) {
  new_machine();
  for (int i = 0; i < 20; i++) {
    pthread_t thread;
    void *result;
    int before = calls;
    pthread_create(&thread, NULL, keeps_calling, NULL);
    while (calls == before) usleep(100);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    if (result != PTHREAD_CANCELED || calls % 2) printf("%d: not cancelled between\n", i);
  }
  printf("still there: %d\n", ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY));
  end_machine();
}

/* Numbers differ; names, and how they are read, do not. */
static void show_statistics(const char *what, int fd) {
  struct kvm_stats_header header;
  char name[256] = {0};
  int stats = ioctl(fd, KVM_GET_STATS_FD, NULL);
  must(what, stats);
  printf("%s: header %zd", what, read(stats, &header, sizeof header));
  printf(", name %zd", pread(stats, name, header.name_size, header.id_offset));
  char *slash = strchr(name, '/');
  printf(" of %u: %.4s %s, %s\n", header.name_size, name, slash ? slash : "",
         header.num_desc > 0 && header.data_offset > header.desc_offset ? "numbers" : "none");
  struct kvm_stats_desc *desc = malloc(sizeof *desc + header.name_size);
  size_t size = sizeof *desc + header.name_size;
  for (uint32_t i = 0; i < header.num_desc; i++) {
    uint64_t value = 0;
    must("desc", pread(stats, desc, size, header.desc_offset + i * size));
    must("data", pread(stats, &value, sizeof value, header.data_offset + desc->offset));
    if (!strcmp(desc->name, "io_exits") || !strcmp(desc->name, "halt_exits"))
      printf("%s: flags %x exponent %d size %u, %s\n", desc->name, desc->flags, desc->exponent,
             desc->size, value ? "counted" : "0");
  }
  printf("at the end: %zd\n", pread(stats, name, 8, 1 << 20));
  free(desc);
  close(stats);
}

static void part_statistics(void) {
  new_machine();
  memcpy(memory + CODE, "\xe6\x80\xf4", 3); /* out 0x80, al; hlt */
  struct kvm_regs regs = {.rip = CODE, .rflags = 2};
  must("set regs", ioctl(vcpu, KVM_SET_REGS, &regs));
  must("run", ioctl(vcpu, KVM_RUN, 0));
  must("run", ioctl(vcpu, KVM_RUN, 0));
  show_statistics("vm", vm);
  show_statistics("vcpu", vcpu);
  end_machine();
}

static const struct {
  const char *name;
  void (*part)(void);
} parts[] = {{"strings", part_strings}, {"cancel", part_cancel}, {"statistics", part_statistics}};

int main(int argc, char **argv) {
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    bool wanted = argc == 1;
    for (int a = 1; a < argc; a++) wanted |= !strcmp(argv[a], parts[i].name);
    if (!wanted) continue;
    printf("-- %s\n", parts[i].name);
    parts[i].part();
    fflush(stdout);
  }
  return 0;
}

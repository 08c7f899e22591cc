/*
 * Preloaded into a selftest: the host's processor is the one that KVM_GET_SUPPORTED_CPUID describes, with MONITOR, so
 * that no result depends on the machine. The CPUID instructions of the program (SELFTEST_CPUID: their addresses) become
 * INT3; kvm_amd's parameters are those of a processor without AVIC.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { LENGTH = 2, ENTRIES = 128, MONITOR = 1 << 3 };

static union {
  struct kvm_cpuid2 head;
  char bytes[sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2)];
} table;

static void fill(void) {
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  table.head.nent = ENTRIES;
  if (kvm < 0 || ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &table)) abort();
  close(kvm);
}

static void answer(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  if (!table.head.nent) fill();
  uint32_t function = (uint32_t)regs[REG_RAX], index = (uint32_t)regs[REG_RCX];
  struct kvm_cpuid_entry2 found = {0};
  for (uint32_t i = 0; i < table.head.nent; i++) {
    struct kvm_cpuid_entry2 *one = &table.head.entries[i];
    int any = !(one->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
    if (one->function == function && (any || one->index == index)) found = *one;
  }
  regs[REG_RAX] = found.eax;
  regs[REG_RBX] = found.ebx;
  regs[REG_RCX] = found.ecx | (function == 1 ? MONITOR : 0);
  regs[REG_RDX] = found.edx;
  regs[REG_RIP] += LENGTH - 1; /* behind INT3 */
}

__attribute__((constructor)) static void patch(void) {
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, NULL);
  long page = sysconf(_SC_PAGESIZE);
  char *at = getenv("SELFTEST_CPUID");
  while (at && *at) {
    char *code = (char *)strtoul(at, &at, 16);
    if (!code) break;
    char *start = (char *)((uintptr_t)code & -(uintptr_t)page);
    size_t size = (size_t)(code + LENGTH - start);
    if (mprotect(start, size, PROT_READ | PROT_WRITE | PROT_EXEC)) abort();
    if (memcmp(code, "\x0f\xa2", LENGTH)) abort();
    memcpy(code, "\xcc\x90", LENGTH);
    if (mprotect(start, size, PROT_READ | PROT_EXEC)) abort();
  }
}

int open(const char *path, int flags, ...) {
  static int (*next)(const char *, int, ...);
  if (!next) next = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
  va_list list;
  va_start(list, flags);
  mode_t mode = va_arg(list, mode_t);
  va_end(list);
  if (strcmp(path, "/sys/module/kvm_amd/parameters/avic")) return next(path, flags, mode);
  int file = memfd_create("avic", MFD_CLOEXEC);
  if (write(file, "N\n", 2) != 2 || lseek(file, 0, SEEK_SET)) abort();
  return file;
}

/*
 * For the server of `kvm-xen exec`: guest memory is a file of the client, which can make it shorter
 * at any time. An access behind its end would end the server with SIGBUS; it finds zeros instead.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

static void fill(int number, siginfo_t *info, void *context) {
  (void)context;
  void *page = (void *)((uintptr_t)info->si_addr & ~4095ul);
  if (info->si_code == BUS_ADRERR &&
      mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
          MAP_FAILED)
    return;
  signal(number, SIG_DFL); /* the access is made again */
}

__attribute__((visibility("default"))) int kvm_xen_guard(void) {
  struct sigaction action = {.sa_sigaction = fill, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigemptyset(&action.sa_mask);
  return sigaction(SIGBUS, &action, NULL);
}

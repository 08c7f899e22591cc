/*
 * Filters of system calls, seccomp(2). A program that installs one allows what it does itself, and often
 * dies of anything else: so a process with a filter that has nothing to do with KVM makes no system call
 * under this library that it would not make without (tests/exec/programs/filtered.c has all functions).
 * virtiofsd is one.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>


static _Atomic bool is_filtered;

bool is_confined(void) { return is_filtered && !kvm_was_used(); }

static void note_filter(long number, long first, long result) {
  bool set = number == SYS_prctl ? first == PR_SET_SECCOMP
                                 : number == SYS_seccomp && (first == SECCOMP_SET_MODE_STRICT ||
                                                             first == SECCOMP_SET_MODE_FILTER);
  if (set && result >= 0) is_filtered = true;
}

/* libseccomp and others that install filters have no other function of libc for it. */
PUBLIC long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
  register long d __asm__("r10") = va_arg(list, long);
  register long e __asm__("r8") = va_arg(list, long);
  register long f __asm__("r9") = va_arg(list, long);
  va_end(list);
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d), "r"(e), "r"(f)
                   : "rcx", "r11", "memory");
  note_filter(number, a, result);
  if (result >= 0 || result < -4095) return result;
  errno = (int)-result;
  return -1;
}

PUBLIC int prctl(int option, ...) {
  va_list list;
  va_start(list, option);
  unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long),
                c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
  va_end(list);
  return (int)syscall(SYS_prctl, (long)option, a, b, c, d);
}

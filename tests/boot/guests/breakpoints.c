/*
 * Hardware breakpoints of the guest, by perf: a data watchpoint, and one on code, whose next instruction has to run once
 * the kernel has handled it. RF, which IRET loads, is what lets it.
 *
 *   gcc -O1 -static -o breakpoints breakpoints.c
 */
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

volatile long cell;
__attribute__((noinline)) void target(int i) { cell = i; }

/* How often a breakpoint hits while the function is called five times. */
static long count(int type, unsigned long at, int length) {
  struct perf_event_attr attr = {
      .type = PERF_TYPE_BREAKPOINT,
      .size = sizeof attr,
      .bp_type = type,
      .bp_addr = at,
      .bp_len = length,
      .exclude_kernel = 1,
      .exclude_hv = 1,
  };
  int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
  if (fd < 0) {
    perror("perf_event_open");
    return -1;
  }
  for (int i = 0; i < 5; i++) target(i);
  long long hits = 0;
  if (read(fd, &hits, 8) != 8) hits = -2;
  close(fd);
  return hits;
}

int main(void) {
  printf("data: %ld of 5\n", count(HW_BREAKPOINT_W, (unsigned long)&cell, 8));
  printf("code: %ld of 5\n", count(HW_BREAKPOINT_X, (unsigned long)target, sizeof(long)));
  return 0;
}

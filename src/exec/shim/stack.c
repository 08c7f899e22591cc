/* Arguments on the calling thread's own stack, which can be copied without asking the kernel. */
#define _GNU_SOURCE
#include "shim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * This thread's stack: empty when that is not known. libc keeps a thread's own variables above its stack,
 * in the same mapping; the main thread's stack is a mapping by itself.
 */
static __thread struct {
  uintptr_t start, end;
} stack;

/* A line of /proc/self/maps: the stack, if it is the mapping that `here` is in. */
static bool is_stack(const char *line, uintptr_t here) {
  char *rest;
  uintptr_t start = strtoul(line, &rest, 16);
  uintptr_t end = strtoul(rest + 1, &rest, 16);
  if (here < start || here >= end) return false;
  uintptr_t own = (uintptr_t)&stack;
  if (strncmp(rest, " rw", 3)) return true;
  stack.start = start;
  if (own > here && own < end)
    stack.end = own;
  else
    stack.end = strstr(rest, "[stack]") ? end : 0;
  return true;
}

void stack_find(char *text, size_t room) {
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  size_t kept = 0;
  ssize_t got;
  bool found = false;
  stack.start = stack.end = 0;
  int fd = proc_open("self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  while (!found && (got = read(fd, text + kept, room - 1 - kept)) > 0) {
    char *line = text, *newline;
    text[kept + (size_t)got] = 0;
    while (!found && (newline = strchr(line, '\n'))) {
      *newline = 0;
      found = is_stack(line, here);
      line = newline + 1;
    }
    kept = strlen(line);
    memmove(text, line, kept);
  }
  real_close(fd);
}

void stack_changed(const void *at, size_t size) {
  uintptr_t here = (uintptr_t)__builtin_frame_address(0), from = (uintptr_t)at;
  if (from >= stack.end || from + size <= stack.start) return;
  /* What is below this frame is asked for by nobody. */
  if (from + size > here) stack.end = from > here ? from : 0;
}

bool on_stack(const void *at, size_t size) {
  /* Below this frame there may be nothing, and a frame on another stack says nothing about this one. */
  uintptr_t here = (uintptr_t)__builtin_frame_address(0), from = (uintptr_t)at;
  return here >= stack.start && from >= here && from < stack.end && size <= stack.end - from;
}

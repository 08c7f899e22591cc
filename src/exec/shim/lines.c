/*
 * Interrupt lines that are low already. To lower one once more changes nothing, and what KVM answers is known until
 * something happens; a serial port does it four times for each character. The server keeps those answers in a page.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <linux/kvm.h>
#include <sys/mman.h>

static struct vm_lines *_Atomic page;
/* VMs that were asked for, by their handles. */
static _Atomic uint32_t asked[64];

static struct vm_lines *lines_of(uint32_t handle) {
  struct vm_lines *first = page;
  for (int i = 0; first && i < LINE_VMS; i++)
    if (first[i].handle == handle) return first + i;
  return NULL;
}

static void ask(uint32_t handle) {
  if (asked[handle % 64] == handle) return;
  asked[handle % 64] = handle;
  struct message request = {.type = MSG_LINES, .handle = handle}, reply;
  int fd = -1;
  int64_t result = server_call(&request, -1, &reply, &fd, NULL, 0);
  if (result >= 0 && fd >= 0 && !page) {
    void *mapped = real_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)reply.b);
    struct vm_lines *none = NULL;
    if (mapped != MAP_FAILED &&
        !atomic_compare_exchange_strong(&page, &none, (struct vm_lines *)mapped))
      real_munmap(mapped, 4096);
  }
  if (fd >= 0) real_close(fd);
}

/* Looks for this thread's stack, once. */
static void know_stack(void) {
  static __thread bool known;
  if (known) return;
  known = true;
  void *text = real_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (text == MAP_FAILED) return;
  stack_find(text, 4096);
  real_munmap(text, 4096);
}

bool line_stays_low(uint32_t handle, uint32_t request, void *argument) {
  if (request != KVM_IRQ_LINE && request != (uint32_t)KVM_IRQ_LINE_STATUS) return false;
  struct kvm_irq_level *line = argument;
  know_stack();
  if (!on_stack(line, sizeof *line) || line->level || line->irq >= sizeof page->answers)
    return false;
  struct vm_lines *vm = lines_of(handle);
  if (!vm) {
    ask(handle);
    return false;
  }
  uint8_t answer = vm->answers[line->irq];
  if (!answer) return false;
  bool status = request == (uint32_t)KVM_IRQ_LINE_STATUS;
  if (status) line->status = (int32_t)answer - 2;
  vm->skipped[status]++;
  return true;
}

void lines_after_fork(void) {
  struct vm_lines *parents = page;
  page = NULL;
  if (parents) real_munmap(parents, 4096);
}

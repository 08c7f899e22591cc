# The interrupt table: exceptions end the guest as crashed and say which; the upcall vector collects
# pending event channels, as the header of struct shared_info describes.
.include "xen.inc"

.section .text, "ax"
.code64

# install_idt: 32 exceptions, one upcall. Uses RAX, RCX, RDX, RDI.
.globl install_idt
install_idt:
  xor %ecx, %ecx
1:
  imul $EXCEPTION_STUB_BYTES, %ecx, %eax
  add $exception_stubs, %eax
  call set_gate
  inc %ecx
  cmp $32, %ecx
  jb 1b
  mov $UPCALL_VECTOR, %ecx
  mov $upcall, %eax
  call set_gate
  lidt idt_pointer(%rip)
  ret

# Vector ECX to the handler at EAX; addresses of this image fit in 32 bits.
set_gate:
  mov %ecx, %edi
  shl $4, %edi
  add $idt, %edi
  mov %eax, %edx
  and $0xffff, %edx
  or $8 << 16, %edx             # code segment
  mov %edx, (%rdi)
  and $0xffff0000, %eax
  or $0x8e00, %eax              # present, interrupt gate
  mov %eax, 4(%rdi)
  movq $0, 8(%rdi)
  ret

# One stub for each exception, all of the same length.
.equ EXCEPTION_STUB_BYTES, 8
.balign 8, 0xcc
exception_stubs:
.set vector, 0
.rept 32
  push $vector
  jmp exception
  .balign EXCEPTION_STUB_BYTES, 0xcc
  .set vector, vector + 1
.endr

exception:
  pop %rbx
  say "FAIL      exception "
  say_decimal %rbx
  say ", fault address "
  say_hex %cr2
  lea text_nothing(%rip), %rsi
  # falls through

# fail: prints the text at RSI and ends the guest as crashed.
.globl fail
fail:
  call print_text
  say "\n"
  mov $SHUTDOWN_crash, %eax
  # falls through

# shut_down: the reason in EAX. Does not return. Without hypercalls a triple fault must do.
.globl shut_down
shut_down:
  cmpb $0, hypercall_page(%rip)
  je 1f
  mov %eax, shutdown_reason(%rip)
  mov $SCHEDOP_shutdown, %edi
  lea shutdown_reason(%rip), %rsi
  hypercall HYPERVISOR_sched_op
1:
  lidt no_idt(%rip)
  ud2

# The event channel upcall. The order matters: upcall_pending is cleared before the selector is
# taken, so an event that comes in between raises the vector again.
upcall:
  push %rax
  push %rbx
  push %rcx
  push %rdx
  incq upcall_count(%rip)
  movb $0, vcpu_info + VCPU_upcall_pending(%rip)
  xor %ebx, %ebx
  xchg %rbx, vcpu_info + VCPU_pending_sel(%rip)
1:
  bsf %rbx, %rcx                # RCX: a word with pending ports
  jz 3f
  btr %rcx, %rbx
  lea shared_info(%rip), %rax
2:
  mov SHARED_evtchn_mask(%rax, %rcx, 8), %rdx
  not %rdx
  and SHARED_evtchn_pending(%rax, %rcx, 8), %rdx
  bsf %rdx, %rdx                # RDX: a pending port in the word
  jz 1b
  lock btrq %rdx, SHARED_evtchn_pending(%rax, %rcx, 8)
  push %rcx
  shl $6, %ecx
  add %ecx, %edx
  lea event_counts(%rip), %rcx
  incl (%rcx, %rdx, 4)
  pop %rcx
  jmp 2b
3:
  pop %rdx
  pop %rcx
  pop %rbx
  pop %rax
  iretq

.section .rodata, "a"
text_nothing: .asciz ""

.section .data, "aw"
.balign 8, 0
idt_pointer:
  .word 256 * 16 - 1
  .quad idt
no_idt:
  .word 0
  .quad 0

.section .bss, "aw", @nobits
.balign 64
.globl vcpu_info, upcall_count, event_counts
vcpu_info: .skip 64
idt: .skip 256 * 16
event_counts: .skip 4096 * 4
upcall_count: .skip 8
shutdown_reason: .skip 4

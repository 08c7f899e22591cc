# Text output: to Xen's console ring once it is known, before that to the debug port.
.include "xen.inc"

.section .text, "ax"
.code64

# print_text: the zero-terminated text at RSI. Keeps all registers but RSI.
.globl print_text
print_text:
  push %rax
1:
  lodsb
  test %al, %al
  jz 2f
  call print_byte
  jmp 1b
2:
  pop %rax
  ret

# print_decimal: RAX as a decimal number. Keeps all registers but RAX.
.globl print_decimal
print_decimal:
  push %rcx
  push %rdx
  mov $10, %ecx
  call print_number
  pop %rdx
  pop %rcx
  ret

# print_hex: RAX as a hexadecimal number with 0x before it. Keeps all registers but RAX.
.globl print_hex
print_hex:
  push %rcx
  push %rdx
  push %rax
  mov $'0', %al
  call print_byte
  mov $'x', %al
  call print_byte
  pop %rax
  mov $16, %ecx
  call print_number
  pop %rdx
  pop %rcx
  ret

# RAX to base RCX, by recursion: the higher digits first. Uses RAX and RDX.
print_number:
  xor %edx, %edx
  div %rcx
  push %rdx
  test %rax, %rax
  jz 1f
  call print_number
1:
  pop %rax
  add $'0', %al
  cmp $'9', %al
  jbe print_byte
  add $'a' - '9' - 1, %al
  # falls through

# print_byte: AL. A line feed also tells the other side that there is something to read.
# Keeps all registers.
.globl print_byte
print_byte:
  push %rax
  push %rbx
  push %rcx
  push %rdx
  mov console_page(%rip), %rbx
  test %rbx, %rbx
  jnz 1f
  mov $DEBUG_PORT, %edx
  out %al, %dx
  jmp 4f
1:
  # The ring is full while 2048 bytes are unread: ask the reader to hurry.
  mov CONSOLE_out_prod(%rbx), %ecx
  mov %ecx, %edx
  sub CONSOLE_out_cons(%rbx), %edx
  cmp $CONSOLE_OUT_BYTES, %edx
  jb 2f
  call notify_console
  jmp 1b
2:
  mov %ecx, %edx
  and $CONSOLE_OUT_BYTES - 1, %edx
  mov %al, CONSOLE_out(%rbx, %rdx)
  inc %ecx
  mov %ecx, CONSOLE_out_prod(%rbx)
  cmp $'\n', %al
  jne 4f
  call notify_console
4:
  pop %rdx
  pop %rcx
  pop %rbx
  pop %rax
  ret

notify_console:
  push %rax
  push %rdi
  push %rsi
  mov $EVTCHNOP_send, %edi
  lea console_port(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  mov $SCHEDOP_yield, %edi
  xor %esi, %esi
  hypercall HYPERVISOR_sched_op
  pop %rsi
  pop %rdi
  pop %rax
  ret

.section .bss, "aw", @nobits
.balign 8
.globl console_page, console_port
console_page: .skip 8
console_port: .skip 4

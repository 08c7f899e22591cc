# A guest for exact snapshots, on the parts of the embedded guest: rounds of computing with everything that a snapshot
# could lose, each of which ends with a line that says what came of it. In a round: arithmetic of all kinds over a
# buffer, with random numbers and the time; a multicall that is too long to be done at once; reads of a port; a poll with
# a time limit; a timer slept through with HLT; half a message to xenstore, and the other half. A second vCPU, where there is one,
# computes, polls, raises events on the first, and goes down now and then. The digest on the line is of all that.
.include "../../../guest/embedded/xen.inc"
.include "../../../guest/embedded/arguments.inc"

# Jumps to a label except in every (\mask + 1)th round of the second vCPU.
.macro unless_round mask, label
  mov second_rounds(%rip), %ecx
  test $\mask, %ecx
  jnz \label
.endm

.equ ROUNDS, 40
.equ WORDS, 2048                # of the buffer, 8 bytes each
.equ CALLS, 2500                # of the multicall
.equ INPUTS, 2200               # reads of a port
.equ HYPERVISOR_multicall, 13
.equ SCHEDOP_poll, 3
.equ HVM_PARAM_STORE_PFN, 1
.equ HVM_PARAM_STORE_EVTCHN, 2
.equ STORE_req_prod, 2052
.equ STORE_rsp_cons, 2056
.equ STORE_rsp_prod, 2060
.equ STORE_rsp, 1024
.equ TIMER_NS, 700000

.section .text, "ax"
.code64
.globl tour, mix, send_bytes, kick_store, store_page, buffer
tour:
  call set_up
  say "work      on "
  say_decimal vcpus(%rip)
  say " vCPUs\n"
  xor %r15d, %r15d              # the round
  mov $0x9e3779b97f4a7c15, %r14 # the digest
round:
  call devices_begin
  call compute
  call multicall
  call input
  call start_second
  call compute
  call first_half
  call poll
  call sleep
  call second_half
  call devices_end
  say "round     "
  say_decimal %r15
  say " digest "
  say_hex %r14
  say " events "
  mov virq_port(%rip), %ebx
  lea event_counts(%rip), %rdx
  mov (%rdx, %rbx, 4), %eax
  call print_decimal
  say " packets "
  mov packets(%rip), %eax
  call print_decimal
  say "\n"
  inc %r15d
  cmp $ROUNDS, %r15d
  jb round
  say "done      "
  say_decimal second_rounds(%rip)
  say "\n"
  mov $SHUTDOWN_poweroff, %eax
  jmp shut_down

# Mixes RAX into the digest.
mix:
  xor %rax, %r14
  mov $0xff51afd7ed558ccd, %rax
  imul %rax, %r14
  rol $23, %r14
  ret

compute:
  lea buffer(%rip), %rbx
  xor %ecx, %ecx
1:
  mov (%rbx, %rcx, 8), %rax
  add %rcx, %rax
  call mix
  mov %r14, (%rbx, %rcx, 8)
  test $63, %ecx
  jnz 2f
  pause
  rdtsc
  call mix
  rdrand %rax
  call mix
  lock addq %r14, sum(%rip)
  fildll (%rbx, %rcx, 8)
  fsqrt
  fstpl real(%rip)
  mov real(%rip), %rax
  call mix
2:
  inc %ecx
  cmp $WORDS, %ecx
  jb 1b
  # A string instruction over the buffer.
  lea buffer(%rip), %rsi
  lea copy(%rip), %rdi
  mov $WORDS, %ecx
  rep movsq
  mov sum(%rip), %rax
  jmp mix

# More calls than one execution does: it is continued.
multicall:
  lea calls(%rip), %rdi
  mov $CALLS, %esi
  hypercall HYPERVISOR_multicall
  call mix
  mov calls + 64 * (CALLS - 1) + 8(%rip), %rax
  jmp mix

# Reads of a port, which the monitor answers.
input:
  mov $INPUTS, %ecx
1:
  in $DEBUG_PORT, %al
  xor %al, %r14b
  rol $3, %r14
  dec %ecx
  jnz 1b
  ret

# Waits for a port that stays quiet, some milliseconds at most.
poll:
  mov $SCHEDOP_poll, %edi
  lea poll_request(%rip), %rsi
  hypercall HYPERVISOR_sched_op
  call mix
  call now
  jmp mix

sleep:
  mov virq_port(%rip), %ebx
  lea event_counts(%rip), %rdx
  mov (%rdx, %rbx, 4), %r12d
  call now
  add $TIMER_NS, %rax
  mov %rax, timer_deadline(%rip)
  mov $VCPUOP_set_singleshot_timer, %edi
  xor %esi, %esi
  lea timer_deadline(%rip), %rdx
  hypercall HYPERVISOR_vcpu_op
  test %rax, %rax
  expect z, "FAIL      VCPUOP_set_singleshot_timer"
  lea event_counts(%rip), %rdx
1:
  cli
  cmp %r12d, (%rdx, %rbx, 4)
  jne 2f
  sti
  hlt
  jmp 1b
2:
  sti
  call now
  jmp mix

# XS_READ of "name", in two pieces.
first_half:
  lea request(%rip), %rsi
  mov $10, %ecx
  jmp send_bytes
second_half:
  lea request + 10(%rip), %rsi
  mov $request_end - request - 10, %ecx
  call send_bytes
  mov store_page(%rip), %rbx
1:
  mov STORE_rsp_prod(%rbx), %eax
  cmp STORE_rsp_cons(%rbx), %eax
  jne 2f
  pause
  jmp 1b
2:
  mov %eax, STORE_rsp_cons(%rbx)
  call mix
  mov STORE_rsp(%rbx), %rax
  call mix
  jmp kick_store

# ECX bytes from RSI into the ring of requests.
send_bytes:
  mov store_page(%rip), %rbx
  mov STORE_req_prod(%rbx), %edx
1:
  lodsb
  mov %edx, %edi
  and $1023, %edi
  mov %al, (%rbx, %rdi)
  inc %edx
  dec %ecx
  jnz 1b
  mov %edx, STORE_req_prod(%rbx)
kick_store:
  mov $EVTCHNOP_send, %edi
  lea store_port(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  ret

# Lets the second vCPU go on, if there is one.
start_second:
  cmpl $2, vcpus(%rip)
  jb 1f
  mov $VCPUOP_up, %ebx
  call second_op
  call mix
1:
  ret

# Operation EBX on vCPU 1, with its context as argument.
second_op:
  mov %ebx, %edi
  mov $1, %esi
  lea second_context(%rip), %rdx
  hypercall HYPERVISOR_vcpu_op
  ret

second_main:
  mov $300, %ecx
1:
  lock xaddq %rcx, sum(%rip)
  and $0xff, %ecx
  inc %ecx
2:
  rdtsc
  xor %rax, %r13
  pause
  dec %ecx
  jnz 2b
  incl second_rounds(%rip)
  unless_round 3, 3f
  mov $EVTCHNOP_send, %edi
  lea ipi_port(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
3:
  unless_round 15, 4f
  mov $SCHEDOP_poll, %edi
  lea poll_second(%rip), %rsi
  hypercall HYPERVISOR_sched_op
4:
  unless_round 63, second_main
  mov $VCPUOP_down, %ebx
  call second_op
  jmp second_main

set_up:
  mov $0x40000000, %edi
1:
  mov %edi, %eax
  cpuid
  cmp $0x566e6558, %ebx         # "XenV"
  je 2f
  add $0x100, %edi
  jmp 1b
2:
  lea 2(%rdi), %eax
  cpuid
  mov %ebx, %ecx
  mov $hypercall_page, %eax
  xor %edx, %edx
  wrmsr
  mov $HVM_PARAM_CONSOLE_EVTCHN, %eax
  call get_param
  mov %eax, console_port(%rip)
  mov $HVM_PARAM_CONSOLE_PFN, %eax
  call get_param
  shl $12, %rax
  mov %rax, console_page(%rip)
  mov $HVM_PARAM_STORE_EVTCHN, %eax
  call get_param
  mov %eax, store_port(%rip)
  mov $HVM_PARAM_STORE_PFN, %eax
  call get_param
  shl $12, %rax
  mov %rax, store_page(%rip)
  mov $XENMEM_add_to_physmap, %edi
  lea physmap(%rip), %rsi
  hypercall HYPERVISOR_memory_op
  test %rax, %rax
  expect z, "FAIL      XENMEM_add_to_physmap"
  mov $VCPUOP_register_vcpu_info, %edi
  xor %esi, %esi
  lea vcpu_info_at(%rip), %rdx
  hypercall HYPERVISOR_vcpu_op
  mov $VCPUOP_register_runstate_memory_area, %edi
  xor %esi, %esi
  lea runstate_at(%rip), %rdx
  hypercall HYPERVISOR_vcpu_op
  movl $HVM_PARAM_CALLBACK_IRQ, param_index(%rip)
  movabs $(CALLBACK_VIA_VECTOR << 56) | UPCALL_VECTOR, %rax
  mov %rax, param_value(%rip)
  mov $HVMOP_set_param, %edi
  lea param(%rip), %rsi
  hypercall HYPERVISOR_hvm_op
  test %rax, %rax
  expect z, "FAIL      HVMOP_set_param"
  sti
  mov $EVTCHNOP_bind_ipi, %edi
  lea ipi(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  mov $EVTCHNOP_bind_ipi, %edi
  lea quiet(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  test %rax, %rax
  expect z, "FAIL      EVTCHNOP_bind_ipi"
  mov $EVTCHNOP_bind_virq, %edi
  lea virq(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  test %rax, %rax
  expect z, "FAIL      EVTCHNOP_bind_virq"
  # Entries of the multicall: the version, over and over.
  lea calls(%rip), %rbx
  mov $CALLS, %ecx
1:
  movq $HYPERVISOR_xen_version, (%rbx)
  add $64, %rbx
  dec %ecx
  jnz 1b
  mov $VCPUOP_is_up, %ebx
  call second_op
  test %rax, %rax
  js 2f
  incl vcpus(%rip)
  mov $VCPUOP_initialise, %ebx
  call second_op
  test %rax, %rax
  expect z, "FAIL      VCPUOP_initialise"
2:
  jmp devices_set_up

# The HVM parameter number EAX, in RAX.
get_param:
  mov %eax, param_index(%rip)
  mov $HVMOP_get_param, %edi
  lea param(%rip), %rsi
  hypercall HYPERVISOR_hvm_op
  mov param_value(%rip), %rax
  ret

# now: nanoseconds since the machine's start, in RAX, from vcpu_info's pvclock: the TSC has 1 GHz.
now:
  push %rdx
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  sub vcpu_info + VCPU_time + PVCLOCK_tsc_timestamp(%rip), %rax
  add vcpu_info + VCPU_time + PVCLOCK_system_time(%rip), %rax
  pop %rdx
  ret

.section .data, "aw"
.balign 8, 0
vcpus: .quad 1
hypercall_arguments
quiet: .long 0
quiet_port: .long 0
virq: .long VIRQ_TIMER, 0
virq_port: .long 0
.balign 8, 0
timer_deadline: .quad 0, 0
poll_request:
  .quad quiet_port
  .long 1, 0
  .quad 5000000
poll_second:
  .quad quiet_port
  .long 1, 0
  .quad 1
request:                        # struct xsd_sockmsg: XS_READ
  .long 2, 7, 0, request_end - request - 16
  .asciz "name"
request_end:
.balign 8, 0
second_vcpu

.section .bss, "aw", @nobits
.balign 64
second_vcpu_room
sum: .skip 8
real: .skip 8
store_page: .skip 8
store_port: .skip 8
.balign 4096
buffer: .skip WORDS * 8
copy: .skip WORDS * 8
calls: .skip CALLS * 64

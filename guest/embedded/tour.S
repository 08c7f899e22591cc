# The tour: what a Xen guest does first, step by step, with what it saw printed line by line. A step
# that goes wrong ends the guest as crashed with a line that begins with FAIL.
.include "xen.inc"
.include "arguments.inc"

.equ TIMER_NS, 50000000         # how far ahead the timer of the tour is set
.equ SPINS, 100000000           # how long to wait for an event that must come at once

.section .text, "ax"
.code64
.globl tour
tour:
  call find_xen
  call set_up_hypercalls
  call find_console
  say "kvm-xen embedded guest: a tour of the machine\n"
  say "xen       at CPUID leaf "
  say_hex xen_leaf(%rip)
  say ", "
  mov xen_version(%rip), %rax
  call print_version
  say "\n"

  say "hypercall page at "
  say_hex $hypercall_page
  say ", XENVER_version says "
  mov $XENVER_version, %edi
  xor %esi, %esi
  hypercall HYPERVISOR_xen_version
  push %rax
  call print_version
  say "\n"
  pop %rax
  cmp xen_version(%rip), %rax
  expect e, "FAIL      CPUID and XENVER_version disagree"

  call show_memory
  call map_shared_info
  call register_vcpu_info
  call show_time
  call try_upcall
  call register_runstate
  call try_timer
  call show_runstate
  call try_second_vcpu
  say "done      powering off\n"
  mov $SHUTDOWN_poweroff, %eax
  jmp shut_down

# Scans the hypervisor leaves for Xen's signature.
find_xen:
  mov $0x40000000, %edi
1:
  mov %edi, %eax
  xor %ecx, %ecx
  cpuid
  cmp $0x566e6558, %ebx         # "XenV"
  jne 2f
  cmp $0x65584d4d, %ecx         # "MMXe"
  jne 2f
  cmp $0x4d4d566e, %edx         # "nVMM"
  je 3f
2:
  add $0x100, %edi
  cmp $0x40010000, %edi
  expect b, "FAIL      this is not Xen: no XenVMMXenVMM leaf in CPUID"
  jmp 1b
3:
  mov %rdi, xen_leaf(%rip)
  lea 1(%rdi), %eax
  cpuid
  mov %rax, xen_version(%rip)
  ret

# Leaf base + 2 names the MSR that fills the hypercall page.
set_up_hypercalls:
  mov xen_leaf(%rip), %eax
  add $2, %eax
  cpuid
  mov %ebx, %ecx
  mov $hypercall_page, %eax
  xor %edx, %edx
  wrmsr
  ret

# HVM parameters say where the console's ring is and which port wakes its other side.
find_console:
  mov $HVM_PARAM_CONSOLE_EVTCHN, %eax
  call get_param
  mov %eax, console_port(%rip)
  mov $HVM_PARAM_CONSOLE_PFN, %eax
  call get_param
  test %rax, %rax
  expect nz, "FAIL      no console: HVM_PARAM_CONSOLE_PFN is 0"
  shl $12, %rax
  mov %rax, console_page(%rip)
  ret

# The HVM parameter number EAX, in RAX.
get_param:
  mov %eax, param_index(%rip)
  movq $0, param_value(%rip)
  mov $HVMOP_get_param, %edi
  lea param(%rip), %rsi
  hypercall HYPERVISOR_hvm_op
  test %rax, %rax
  expect z, "FAIL      HVMOP_get_param"
  mov param_value(%rip), %rax
  ret

# Adds up the RAM in the memory map of start_info.
show_memory:
  mov start_info(%rip), %ebx
  cmpl $START_INFO_MAGIC, (%rbx)
  expect e, "FAIL      start_info has no magic number"
  mov START_memmap_entries(%rbx), %ecx
  mov START_memmap(%rbx), %rbx
  xor %edx, %edx
1:
  cmpl $MEMMAP_TYPE_RAM, 16(%rbx)
  jne 2f
  add 8(%rbx), %rdx
2:
  add $MEMMAP_ENTRY_BYTES, %rbx
  dec %ecx
  jnz 1b
  say "memory    "
  mov %rdx, %rax
  shr $10, %rax
  call print_decimal
  say " KiB of RAM in the memory map\n"
  ret

map_shared_info:
  mov $XENMEM_add_to_physmap, %edi
  lea physmap(%rip), %rsi
  hypercall HYPERVISOR_memory_op
  test %rax, %rax
  expect z, "FAIL      XENMEM_add_to_physmap"
  say "shared    shared_info in frame "
  say_hex physmap_frame(%rip)
  say "\n"
  ret

register_vcpu_info:
  mov $VCPUOP_register_vcpu_info, %edi
  xor %esi, %esi
  lea vcpu_info_at(%rip), %rdx
  hypercall HYPERVISOR_vcpu_op
  test %rax, %rax
  expect z, "FAIL      VCPUOP_register_vcpu_info"
  say "vcpu      vcpu_info at "
  say_hex $vcpu_info
  say "\n"
  ret

show_time:
  say "time      booted "
  mov shared_info + SHARED_wc_sec(%rip), %eax
  call print_decimal
  say " s after 1970, running for "
  call now
  test %rax, %rax
  expect nz, "FAIL      the clock stands at 0"
  call print_microseconds
  say " us\n"
  ret

# An event channel to itself, delivered as an interrupt.
try_upcall:
  movl $HVM_PARAM_CALLBACK_IRQ, param_index(%rip)
  movabs $(CALLBACK_VIA_VECTOR << 56) | UPCALL_VECTOR, %rax
  mov %rax, param_value(%rip)
  mov $HVMOP_set_param, %edi
  lea param(%rip), %rsi
  hypercall HYPERVISOR_hvm_op
  test %rax, %rax
  expect z, "FAIL      HVMOP_set_param of the callback vector"
  sti
  mov $EVTCHNOP_bind_ipi, %edi
  lea ipi(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  test %rax, %rax
  expect z, "FAIL      EVTCHNOP_bind_ipi"
  mov $EVTCHNOP_send, %edi
  lea ipi_port(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  test %rax, %rax
  expect z, "FAIL      EVTCHNOP_send"
  mov $SPINS, %ecx
  mov ipi_port(%rip), %ebx
  lea event_counts(%rip), %rdx
1:
  cmpl $1, (%rdx, %rbx, 4)
  je 2f
  pause
  dec %ecx
  jnz 1b
  test %ecx, %ecx
  expect nz, "FAIL      no upcall for an event that was sent"
2:
  say "upcall    event on port "
  say_decimal %rbx
  say " came through vector "
  say_hex $UPCALL_VECTOR
  say "\n"
  ret

register_runstate:
  mov $VCPUOP_register_runstate_memory_area, %edi
  xor %esi, %esi
  lea runstate_at(%rip), %rdx
  hypercall HYPERVISOR_vcpu_op
  test %rax, %rax
  expect z, "FAIL      VCPUOP_register_runstate_memory_area"
  ret

# A one-shot timer, slept through with HLT.
try_timer:
  mov $EVTCHNOP_bind_virq, %edi
  lea virq(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  test %rax, %rax
  expect z, "FAIL      EVTCHNOP_bind_virq of VIRQ_TIMER"
  call now
  mov %rax, timer_set(%rip)
  add $TIMER_NS, %rax
  mov %rax, timer_deadline(%rip)
  mov $VCPUOP_set_singleshot_timer, %edi
  xor %esi, %esi
  lea timer_deadline(%rip), %rdx
  hypercall HYPERVISOR_vcpu_op
  test %rax, %rax
  expect z, "FAIL      VCPUOP_set_singleshot_timer"
  mov virq_port(%rip), %ebx
  lea event_counts(%rip), %rdx
1:
  # Interrupts stay off until HLT, so the event cannot slip in between the check and the sleep.
  cli
  cmpl $0, (%rdx, %rbx, 4)
  jne 2f
  sti
  hlt
  jmp 1b
2:
  sti
  call now
  mov %rax, %rcx
  cmp timer_deadline(%rip), %rax
  expect ae, "FAIL      the timer fired too early"
  say "timer     on port "
  say_decimal %rbx
  say ", set for 50000 us, woke HLT after "
  mov %rcx, %rax
  sub timer_set(%rip), %rax
  call print_microseconds
  say " us\n"
  ret

# The times of all states add up to the moment of the last change.
show_runstate:
  lea runstate(%rip), %rbx
  cmpl $0, (%rbx)
  expect e, "FAIL      runstate is not running while running"
  mov RUNSTATE_times(%rbx), %rax
  add RUNSTATE_times + 8(%rbx), %rax
  add RUNSTATE_times + 16(%rbx), %rax
  add RUNSTATE_times + 24(%rbx), %rax
  cmp RUNSTATE_entry_time(%rbx), %rax
  expect e, "FAIL      runstate times do not add up"
  say "runstate  running "
  mov RUNSTATE_times(%rbx), %rax
  call print_microseconds
  say " us, runnable "
  mov RUNSTATE_times + 8(%rbx), %rax
  call print_microseconds
  say " us, blocked "
  mov RUNSTATE_times + 16(%rbx), %rax
  call print_microseconds
  say " us, offline "
  mov RUNSTATE_times + 24(%rbx), %rax
  call print_microseconds
  say " us\n"
  ret

# A second vCPU, if there is one: started by hypercalls alone, without the local APIC.
try_second_vcpu:
  mov $VCPUOP_is_up, %ebx
  call second_op
  test %rax, %rax
  js 3f                         # no such vCPU
  expect z, "FAIL      vCPU 1 is up before it was started"
  mov $VCPUOP_initialise, %ebx
  call second_op
  test %rax, %rax
  expect z, "FAIL      VCPUOP_initialise of vCPU 1"
  xor %r12d, %r12d
1:
  inc %r12d
  mov $VCPUOP_up, %ebx
  call second_op
  test %rax, %rax
  expect z, "FAIL      VCPUOP_up of vCPU 1"
  mov $SPINS, %r13d
2:
  pause
  dec %r13d
  expect nz, "FAIL      vCPU 1 does not run, or does not go down"
  cmp %r12d, second_rounds(%rip)
  jne 2b
  mov $VCPUOP_is_up, %ebx
  call second_op
  test %rax, %rax
  jnz 2b
  cmp $2, %r12d
  jb 1b
  say "second    vCPU 1 ran twice, and went down twice\n"
3:
  ret

# Operation EBX on vCPU 1, with its context as argument.
second_op:
  mov %ebx, %edi
  mov $1, %esi
  lea second_context(%rip), %rdx
  hypercall HYPERVISOR_vcpu_op
  ret

# What vCPU 1 runs: counts a round and goes down, as often as it is brought up.
second_main:
  incl second_rounds(%rip)
  mov $VCPUOP_down, %ebx
  call second_op
  jmp second_main

# now: nanoseconds since the machine's start, in RAX, from vcpu_info's pvclock. The version is odd
# while the hypervisor writes, and differs when it has written in between.
now:
  push %rbx
  push %rcx
  push %rdx
  push %rdi
  push %rsi
  lea vcpu_info + VCPU_time(%rip), %rbx
1:
  mov PVCLOCK_version(%rbx), %edi
  test $1, %edi
  jnz 1b
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  sub PVCLOCK_tsc_timestamp(%rbx), %rax
  movsbl PVCLOCK_shift(%rbx), %ecx
  test %ecx, %ecx
  js 2f
  shl %cl, %rax
  jmp 3f
2:
  neg %ecx
  shr %cl, %rax
3:
  mov PVCLOCK_mul(%rbx), %edx
  mul %rdx
  shrd $32, %rdx, %rax
  add PVCLOCK_system_time(%rbx), %rax
  cmp PVCLOCK_version(%rbx), %edi
  jne 1b
  pop %rsi
  pop %rdi
  pop %rdx
  pop %rcx
  pop %rbx
  ret

# RAX nanoseconds as microseconds.
print_microseconds:
  push %rcx
  push %rdx
  xor %edx, %edx
  mov $1000, %ecx
  div %rcx
  call print_decimal
  pop %rdx
  pop %rcx
  ret

# RAX = major << 16 | minor, as "version major.minor".
print_version:
  push %rax
  say "version "
  mov (%rsp), %rax
  shr $16, %rax
  call print_decimal
  say "."
  pop %rax
  and $0xffff, %eax
  jmp print_decimal

.section .data, "aw"
.balign 8, 0
hypercall_arguments
virq: .long VIRQ_TIMER, 0
virq_port: .long 0
.balign 8, 0
timer_deadline: .quad 0, 0      # struct vcpu_set_singleshot_timer: deadline, flags

second_vcpu

.section .bss, "aw", @nobits
.balign 64
second_vcpu_room
xen_leaf: .skip 8
xen_version: .skip 8
timer_set: .skip 8

# A guest that is never idle: each vCPU draws operations from a generator of its own and waits for
# the outcome of each, so that what it has counted in the end does not depend on time. Whatever gets
# lost or comes twice on the way shows in the counters, in the log, or as a guest that never ends.
#
# Starts in 64-bit mode, identity-mapped, at privilege level 0, interrupts off:
#   RDI  number of the vCPU, 0 or 1
#   RSI  its struct, see below;  RDX  the other one's, 0 when there is none
#   R8   its vcpu_info;  R9  its log;  RCX  how many rounds;  R10  bit mask of operations
#   RSP  a stack
# R15 is the struct and R14 the generator from then on; R13 the round, R12 the log.
.intel_syntax noprefix
.code64

# The struct.
.equ COUNTS, 0              # u64 for each port, 64 ports
.equ TIMER_IRQS, 0x200      # interrupts of the local APIC's timer
.equ SELF_IPIS, 0x208
.equ NMIS, 0x210
.equ UDS, 0x218
.equ PFS, 0x220
.equ LAST_CLOCK, 0x228
.equ SUM, 0x230             # of everything read
.equ ERRORS, 0x238          # a bit for each check that failed
.equ DONE, 0x240
.equ INFO, 0x248
.equ INDEX, 0x250
.equ CROSS_SENT, 0x258
.equ OTHER, 0x260
.equ OPERATIONS, 0x268
.equ GPS, 0x270
.equ FILTER, 0x278          # ports of this vCPU, modulo 64
.equ ARG, 0x280             # arguments of hypercalls, 64 bytes
.equ PORTS, 0x2c0           # list of ports to poll
.equ SCRATCH, 0x300
.equ ROUNDS, 0x308

# Where things are.
.equ SHARED, 0x40000
.equ PENDING, SHARED + 0x800
.equ MASK, SHARED + 0xa00
.equ RUNSTATE, 0x43fe8      # of vCPU 0; 0x1000 higher for each further one
.equ LAPIC, 0xfee00000
.equ DEVICE, 0xd0000000

# Ports: the number of the vCPU is added, so that one has the even ones.
.equ PORT_SELF, 10
.equ PORT_CROSS, 20
.equ PORT_POLL, 30          # masked
.equ PORT_TIMER, 40
.equ PORT_ROUTED, 50        # raised by the client through a GSI

.equ TIMER_VECTOR, 0x41
.equ SELF_VECTOR, 0x42
.equ HVM_VECTOR, 0xf3

# The client reads this table.
.quad start
.quad on_ud, on_gp, on_pf, on_nmi, on_timer, on_self, on_upcall, on_vector

start:
  mov r15, rsi
  mov [r15 + OTHER], rdx
  mov [r15 + INFO], r8
  mov [r15 + INDEX], rdi
  mov [r15 + ROUNDS], rcx
  mov [r15 + OPERATIONS], r10
  mov rax, 0x5555555555555555
  mov ecx, edi
  shl rax, cl
  mov [r15 + FILTER], rax
  mov r12, r9
  xor r13d, r13d
  lea r14, [rdi * 2 + 0x1234567]
  fninit
  fld1
  mov eax, 0x3ff00000
  shl rax, 32
  movq xmm7, rax
  # Local APIC: on, spurious vector 0xff; timer one-shot, divided by 1.
  mov ebx, LAPIC
  mov dword ptr [rbx + 0xf0], 0x1ff
  mov dword ptr [rbx + 0x3e0], 0xb
  mov dword ptr [rbx + 0x320], TIMER_VECTOR
  sti
round:
  cmp r13, [r15 + ROUNDS]
  jae finish
  call next
  mov rcx, rax
  shr rcx, 40
  and ecx, 31
  bt [r15 + OPERATIONS], rcx
  jnc round
  lea rbx, [rip + operations]
  movsxd rdx, dword ptr [rbx + rcx * 4]
  add rdx, rbx
  mov [r15 + SCRATCH], rcx
  call rdx
  # The log: operation and result.
  mov rcx, [r15 + SCRATCH]
  shl rcx, 56
  shl rax, 8
  shr rax, 8
  or rax, rcx
  mov [r12 + r13 * 8], rax
  inc r13
  jmp round

finish:
  fstp qword ptr [r15 + SCRATCH]
  mov rax, [r15 + SCRATCH]
  call mix
  movq rax, xmm7
  call mix
  movdqu [r15 + 0x320], xmm6
  cmp qword ptr [r15 + OTHER], 0
  je 2f
  call cross
  mov qword ptr [r15 + DONE], 1
  mov rbx, [r15 + OTHER]
1:
  pause
  cmp qword ptr [rbx + DONE], 0
  je 1b
2:
  mov al, 1
  out 0x30, al
  jmp 2b

# The next number of the generator in RAX; uses RDX.
next:
  mov rax, 6364136223846793005
  imul r14, rax
  mov rax, 1442695040888963407
  add r14, rax
  mov rax, r14
  mov rdx, r14
  shr rdx, 29
  xor rax, rdx
  ret

# Mixes RAX into the sum; uses RDX.
mix:
  mov rdx, [r15 + SUM]
  rol rdx, 7
  xor rdx, rax
  mov [r15 + SUM], rdx
  ret

# Guest time in RAX, checked never to go back; uses RCX, RDX, RBX, RSI.
clock:
  mov rbx, [r15 + INFO]
1:
  mov esi, [rbx + 32]
  test esi, 1
  jnz 1b
  rdtsc
  shl rdx, 32
  or rax, rdx
  sub rax, [rbx + 40]
  mov cl, [rbx + 60]
  test cl, cl
  js 2f
  shl rax, cl
  jmp 3f
2:
  neg cl
  shr rax, cl
3:
  mov edx, [rbx + 56]
  mul rdx
  shrd rax, rdx, 32
  add rax, [rbx + 48]
  cmp esi, [rbx + 32]
  jne 1b
  cmp rax, [r15 + LAST_CLOCK]
  jae 4f
  or qword ptr [r15 + ERRORS], 1
4:
  mov [r15 + LAST_CLOCK], rax
  xor esi, esi                 # a version of the clock, which differs after a restore
  ret

.include "operations.inc"
.include "handlers.inc"

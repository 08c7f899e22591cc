/*
 * Small cases of faults and flags in user code: which fault comes first, what it leaves behind, what prefixes and
 * 32-bit addresses do. faults.out is what an AMD processor did with the same static program.
 *
 *   gcc -O1 -static -o faults faults.c && ./faults
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf back;
static volatile uint64_t cr2, trap, err, sp, cx;
static volatile int got;

__attribute__((used)) static void note(int signal, siginfo_t *info, void *context) {
  const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  (void)info;
  cr2 = regs[REG_CR2];
  trap = regs[REG_TRAPNO];
  err = regs[REG_ERR];
  sp = regs[REG_RSP];
  cx = regs[REG_RCX];
  got = signal;
  siglongjmp(back, 1);
}

/* Alignment checks end before anything else. */
void handler(int, siginfo_t *, void *);
__asm__("handler: pushfq\n andl $~0x40000,(%rsp)\n popfq\n jmp note\n");

/* What a piece of code ends with. */
#define TRY(name, ...)                                                                     \
  do {                                                                                     \
    got = 0;                                                                               \
    cr2 = 0;                                                                               \
    if (!sigsetjmp(back, 1)) {                                                             \
      __VA_ARGS__;                                                                         \
      printf("%s: no fault\n", name);                                                      \
    } else {                                                                               \
      printf("%s: sig %d trap %lu err %lx cr2 %lx\n", name, got, trap, err,                \
             trap == 14 ? cr2 : 0UL);                                                      \
    }                                                                                      \
  } while (0)

#define CHECK_ALIGNMENT "pushfq; orl $0x40000,(%%rsp); popfq; "
#define NO_CHECKS "; pushfq; andl $~0x40000,(%%rsp); popfq"

#define BAD1 0x30001000UL
#define BAD2 0x40002000UL
#define NOWHERE 0x50000000UL
#define NOT_CANONICAL 0x8000000000000000UL

/* Two pages with nothing behind them. */
static uint8_t *pages;

static void strings(void) {
#define STRING(name, op, si, di) \
  TRY(name, __asm__ volatile(op ::"S"((uint64_t)(si)), "D"((uint64_t)(di)) : "memory"))
  STRING("cmps both bad", "cmpsl", BAD1, BAD2);
  STRING("cmps rsi ok, rdi bad", "cmpsl", pages, BAD2);
  STRING("cmps rsi crosses, rdi bad", "cmpsl", pages + 0x1ffe, BAD2);
  STRING("cmps rsi bad, rdi crosses", "cmpsl", BAD2, pages + 0x1ffe);
  STRING("movs both bad", "movsl", BAD1, BAD2);
}

static void stacks(void) {
  TRY("push [bad] with bad stack",
      __asm__ volatile("mov %%rsp,%%rbx; mov %1,%%rsp; pushq (%0)" ::"r"(NOWHERE), "r"(0x60000008UL)
                       : "rbx", "memory"));
  TRY("pop [bad]", __asm__ volatile("popq (%0)" ::"r"(NOWHERE) : "memory"));
  volatile uint64_t *stack = (uint64_t *)(pages + 0x800);
#define CALL(name, to)                                                                         \
  stack[-1] = 0x1111;                                                                          \
  TRY(name, __asm__ volatile("mov %0,%%rsp; mov %1,%%rax; call *%%rax" ::"r"(stack), "r"(to)   \
                             : "rax", "memory"));                                              \
  printf(" pushed: %d, rsp moved: %d\n", stack[-1] != 0x1111, sp != (uint64_t)stack)
  CALL("call noncanonical", NOT_CANONICAL);
  CALL("call unmapped", 0x70000000UL);
  stack[0] = NOT_CANONICAL;
  TRY("ret noncanonical", __asm__ volatile("mov %0,%%rsp; ret" ::"r"(stack) : "memory"));
  printf(" rsp moved: %d\n", sp != (uint64_t)stack);
}

static void alignment(void) {
#define ODD(name, op, at)                                                          \
  TRY("AC " name, __asm__ volatile(CHECK_ALIGNMENT op NO_CHECKS ::"D"((uint64_t)(at)) \
                                   : "rax", "xmm0", "memory"))
  ODD("mov odd", "mov (%0),%%eax", pages + 1);
  ODD("mov odd noncanonical", "mov (%0),%%eax", NOT_CANONICAL + 1);
  ODD("mov odd unmapped", "mov (%0),%%eax", NOWHERE + 1);
  ODD("movups odd", "movups (%0),%%xmm0", pages + 1);
  ODD("maskmovq odd", "maskmovq %%mm0,%%mm0", pages + 1);
  ODD("fxsave odd", "fxsave (%0)", pages + 1);
  ODD("fxrstor odd", "fxrstor (%0)", pages + 1);
  ODD("fnsave odd", "fnsave (%0)", pages + 1);
  __asm__ volatile("fninit");
  ODD("fld80 odd", "fldt (%0)", pages + 1);
  __asm__ volatile("fninit");
  ODD("fldenv odd", "fldenv (%0)", pages + 1);
}

/* LOOPcc with F2 and F3. */
static void prefixes(void) {
  static const char *const names[] = {"-", "f2", "f3"};
  for (int zf = 0; zf < 2; zf++)
    for (int prefix = 0; prefix < 3; prefix++)
      for (int op = 0; op < 2; op++) {
        uint8_t *code = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *at = code;
        /* mov ecx,2; mov eax,1; cmp eax,1 or 0 */
        memcpy(at, "\xb9\2\0\0\0\xb8\1\0\0\0\x83\xf8", 12);
        at += 12;
        *at++ = zf;
        if (prefix) *at++ = prefix == 1 ? 0xf2 : 0xf3;
        *at++ = 0xe0 + op;
        memcpy(at, "\2\x31\xc0\xc3", 4); /* over xor eax,eax; ret */
        printf("prefix %s %s zf=%d: %s\n", names[prefix], op ? "loope" : "loopne", zf,
               ((int (*)(void))code)() ? "jumps" : "falls through");
      }
}

/* Counts and addresses of 32 bits: what is left in the upper halves. */
static void halves(void) {
  const uint64_t low = (uint64_t)pages;
  uint64_t rcx, rsi, rdi;
  for (unsigned n = 0; n < 2; n++) {
    rcx = 0x500000000 + n;
    rdi = 0x700000000 | low;
    __asm__ volatile("rep; .byte 0x67; stosb" : "+c"(rcx), "+D"(rdi) : "a"(0) : "memory");
    printf("rep stosb a32, ecx %u: rcx %lx rdi %lx\n", n, rcx, rdi);
  }
  rcx = 0x500000000;
  rdi = 0x700000000 | low;
  rsi = 0x900000000 | low;
  __asm__ volatile("rep; .byte 0x67; movsb" : "+c"(rcx), "+D"(rdi), "+S"(rsi)::"memory");
  printf("rep movsb a32, ecx 0: rcx %lx rsi %lx rdi %lx\n", rcx, rsi, rdi);
  rcx = 0x500000001;
  __asm__ volatile(".byte 0x67; loop 1f; nop; 1:" : "+c"(rcx));
  printf("loop a32: rcx %lx\n", rcx);
  rcx = 0x500000000;
  int fell = 0;
  __asm__ volatile("jecxz 1f; inc %1; 1:" : "+c"(rcx), "+r"(fell));
  printf("jecxz: rcx %lx fell %d\n", rcx, fell);
  TRY("rep stosb a32 fault", __asm__ volatile("rep; .byte 0x67; stosb" ::"c"(0x500000004UL),
                                              "D"(NOWHERE), "a"(0)
                                              : "memory"));
  printf(" rcx %lx\n", cx);
}

int main(void) {
  pages = mmap((void *)0x20000000, 0x2000, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  static uint8_t alternate[32768];
  sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = sizeof alternate}, 0);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  for (int i = 0; i < 5; i++) sigaction(signals[i], &action, 0);
  strings();
  stacks();
  alignment();
  prefixes();
  halves();
  /* FFREE and C1. */
  uint16_t status;
  __asm__ volatile("fninit; fld1; fxam; fchs; fxam; ffree %%st(3); fnstsw %0" : "=m"(status));
  printf("ffree: sw %x\n", status);
  return 0;
}

/*
 * What this processor does between two instructions: plays the cases of between.cases (its head says
 * how they are written) in a traced child and prints each stop: where, DR6, and which of TF and RF were
 * set when it continued. Linux sets RF itself when a breakpoint on code stops.
 *
 *   gcc -O1 -o between between.c && ./between < between.cases > between.out
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define CODE 0x10000000ul
#define DATA 0x20000000ul
#define STACK 0x30000800ul
#define TF 0x100
#define RF 0x10000
#define SS3 0x2b

/* A number, or c, d, s (code, data, stack) with an offset; 33 and 2b are the selectors of 64-bit user code and data. */
static unsigned long value(const char *text, char **end) {
  unsigned long base = *text == 'c' ? CODE : *text == 'd' ? DATA : *text == 's' ? STACK : 0;
  if (!base) return strtoul(text, end, 16);
  if (text[1] != '+') {
    *end = (char *)text + 1;
    return base;
  }
  return base + strtoul(text + 2, end, 16);
}

struct test {
  char *name, *code;
  int bits;
  unsigned long flags, rcx, stack[5], dr[4], dr7;
};

static struct test parse(char *line) {
  struct test t = {.name = line, .bits = 64};
  char *p = strchr(line, ':');
  *p++ = 0;
  for (char *word = strtok(p, " \n"); word; word = strtok(0, " \n")) {
    char *v = strchr(word, '=') + 1;
    if (!strncmp(word, "code=", 5)) t.code = v;
    else if (!strncmp(word, "bits=", 5)) t.bits = atoi(v);
    else if (!strncmp(word, "flags=", 6)) t.flags = (strstr(v, "TF") ? TF : 0) | (strstr(v, "RF") ? RF : 0);
    else if (!strncmp(word, "rcx=", 4)) t.rcx = strtoul(v, 0, 16);
    else if (!strncmp(word, "stack=", 6)) {
      for (int i = 0; *v; i++) {
        t.stack[i] = value(v, &v);
        if (*v == '/') t.stack[i] |= value(v + 1, &v) << 32;
        if (*v == ',') v++;
      }
    } else if (!strncmp(word, "dr=", 3)) {
      for (int i = 0; *v; i++) {
        unsigned kind = *v == 'x' ? 0 : *v == 'w' ? 1 : 3, length = v[1] - '0';
        unsigned code = length == 8 ? 2 : length - 1;
        t.dr[i] = value(v + 3, &v);
        t.dr7 |= 1ul << (i * 2) | (unsigned long)(kind | code << 2) << (16 + i * 4);
        if (*v == ',') v++;
      }
    }
  }
  return t;
}

static void play(struct test *t) {
  uint8_t *code = (void *)CODE;
  int n = 0;
  memset(code, 0x90, 0x1000);
  for (char *p = t->code; *p; p += 2) sscanf(p, "%2hhx", &code[n++]);
  code[n] = 0xf4;
  memset((void *)DATA, 0, 0x1000);
  *(uint16_t *)DATA = SS3;
  memset((void *)(STACK - 0x800), 0, 0x1000);
  for (int i = 0; i < 5; i++) ((unsigned long *)STACK)[i] = t->stack[i];
  pid_t child = fork();
  if (!child) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
  }
  int status;
  waitpid(child, &status, 0);
  struct user_regs_struct r;
  ptrace(PTRACE_GETREGS, child, 0, &r);
  r.rip = CODE, r.rsp = STACK, r.rbx = DATA, r.rdi = DATA + 0x100, r.rsi = DATA + 0x180, r.rcx = t->rcx, r.rax = SS3, r.rdx = r.rbp = 0;
  r.eflags = 0x202 | t->flags, r.orig_rax = -1;
  if (t->bits == 32) r.cs = 0x23, r.ds = r.es = SS3;
  ptrace(PTRACE_SETREGS, child, 0, &r);
  for (int i = 0; i < 4; i++) {
    if (t->dr7 >> (i * 2) & 3) ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[i]), t->dr[i]);
  }
  if (t->dr7 && ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[7]), t->dr7)) perror(t->name);
  printf("%s:", t->name);
  for (int i = 0; i < 12; i++) {
    ptrace(PTRACE_CONT, child, 0, 0);
    waitpid(child, &status, 0);
    siginfo_t info;
    ptrace(PTRACE_GETREGS, child, 0, &r);
    ptrace(PTRACE_GETSIGINFO, child, 0, &info);
    unsigned long dr6 = ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg[6]), 0) & 0x400f;
    ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[6]), 0);
    int signal = WSTOPSIG(status);
    long at = r.rip - CODE;
    if (at >= 0 && at < 0x1000) printf(" +%lx", at);
    else printf(" %llx", r.rip);
    if (signal == SIGILL) printf(" ud");
    else if (signal == SIGSEGV) printf(at == n ? " end" : " fault");
    else if (info.si_code == SI_KERNEL) printf(" int3");
    else printf(" %lx%s%s", dr6, r.eflags & TF ? " TF" : "", r.eflags & RF ? " RF" : "");
    if (t->rcx) printf(" rcx=%llx", r.rcx);
    if (signal != SIGTRAP) break;
    printf(";");
  }
  printf("\n");
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
}

int main(void) {
  for (int i = 0; i < 3; i++) {
    void *at = (void *)((unsigned long[]){CODE, DATA, STACK - 0x800})[i];
    mmap(at, 0x1000, i ? PROT_READ | PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
  setvbuf(stdout, 0, _IONBF, 0);
  char line[500];
  while (fgets(line, sizeof line, stdin)) {
    if (*line == '#' || *line == '\n') continue;
    struct test t = parse(line);
    play(&t);
  }
}

/*
 * Executes test cases on the host's own processor, for comparison with the engine.
 *
 * Standard input: a header, the initial memory image, then `count` cases. Standard output: one result
 * per case, in order. The layouts are in protocol.mjs, which must agree with the structs below.
 *
 * Every case starts by returning from a signal handler and ends with a signal: the handler finds the
 * final registers in its frame, writes them out, and puts the next case's registers into the same frame.
 * So one signal per case loads and saves the whole user-visible state (x87 and SSE too), in any code
 * segment: 64-bit, 32-bit (compatibility) or 16-bit (through the local descriptor table).
 *
 * Memory of a case (fixed addresses below 4 GiB, with unmapped pages around each area):
 *   CODE  2 pages, readable and executable     DATA  4 pages, the last one read-only     STACK  2 pages
 * All three are views of one file, which the handler writes through a second, private view.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE_AT 0x10000000ull
#define DATA_AT 0x20000000ull
#define STACK_AT 0x30000000ull
#define CODE_BYTES 0x2000u
#define DATA_BYTES 0x4000u
#define STACK_BYTES 0x2000u
#define RO_BYTES 0x1000u /* at the end of DATA */
#define IMAGE_BYTES (DATA_BYTES + STACK_BYTES)
#define USER_CS64 0x33
#define MAGIC 0x3176746eu

#define MAX_CODE 272
#define MAX_PATCHES 8
#define BLOB_BYTES 640
/* Bases of FS and GS in 64-bit cases. */
#define FS_BASE 0x712345678000ull
#define GS_BASE 0x20001234ull

enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT = 8 };

struct header {
  uint32_t magic, count;
};

/* Bytes of the blob that go into the image (DATA, then STACK) before the case. */
struct patch {
  uint32_t offset;
  uint16_t length, blob_at;
};

struct test_case {
  uint8_t fx[512];
  uint64_t gpr[16]; /* RAX RCX RDX RBX RSP RBP RSI RDI R8.. */
  uint64_t rip, rflags;
  uint16_t seg[SEG_COUNT];
  uint32_t code_offset, code_length, patch_count, index;
  uint8_t code[MAX_CODE];
  struct patch patch[MAX_PATCHES];
  uint8_t blob[BLOB_BYTES];
};

struct result {
  uint8_t fx[512];
  uint64_t gpr[16];
  uint64_t rip, rflags, cr2;
  uint16_t seg[SEG_COUNT];
  uint32_t vector, error, chunk_count, index;
};

/* 16 bytes of the image that the case changed. */
struct chunk {
  uint64_t offset, bytes[2];
};

/* For the vector of a case that did not end in time. */
#define VECTOR_TIMEOUT 0xffffu

static const int gpr_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static uint8_t *code_view, *image_view; /* writable views */
static uint8_t base_image[IMAGE_BYTES] __attribute__((aligned(16)));
static uint8_t start_image[IMAGE_BYTES] __attribute__((aligned(16))); /* base and the case's patches */
static uint8_t *input;
static uint32_t case_count, current;
static int running;
static unsigned ticks;

static uint8_t home_fp[16384];
static size_t home_fp_bytes;
static gregset_t home_gregs;
static unsigned long home_fs;

static uint8_t output[1 << 20];
static size_t output_used;

static long raw_syscall(long n, long a, long b, long c) {
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return r;
}

static void die(const char *what) {
  fprintf(stderr, "harness: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void flush_output(void) {
  size_t done = 0;
  while (done < output_used) {
    long n = raw_syscall(SYS_write, 1, (long)(output + done), (long)(output_used - done));
    if (n == -EINTR) continue;
    if (n < 0) raw_syscall(SYS_exit_group, 1, 0, 0);
    done += (size_t)n;
  }
  output_used = 0;
}

static void put(const void *p, size_t n) {
  if (output_used + n > sizeof output) flush_output();
  memcpy(output + output_used, p, n);
  output_used += n;
}

static struct test_case *case_at(uint32_t i) {
  return (struct test_case *)(input + sizeof(struct header) + IMAGE_BYTES) + i;
}

/* Nothing behind this may need thread-local storage until the handler is entered again. */
static void set_fs_gs(const struct test_case *t) {
  if (t->seg[SEG_CS] == USER_CS64) {
    raw_syscall(SYS_arch_prctl, 0x1002 /* ARCH_SET_FS */, (long)FS_BASE, 0);
    raw_syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, (long)GS_BASE, 0);
  } else {
    __asm__ volatile("mov %0, %%fs\n\tmov %1, %%gs" : : "r"((uint32_t)t->seg[SEG_FS]), "r"((uint32_t)t->seg[SEG_GS]));
  }
}

/* Puts case `current` into the frame. */
static void load_case(ucontext_t *uc) {
  const struct test_case *t = case_at(current);
  greg_t *g = uc->uc_mcontext.gregs;
  struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
  for (int i = 0; i < 16; i++) g[gpr_of[i]] = (greg_t)t->gpr[i];
  g[REG_RIP] = (greg_t)t->rip;
  g[REG_EFL] = (greg_t)t->rflags;
  g[REG_CSGSFS] = (greg_t)((uint64_t)t->seg[SEG_CS] | (uint64_t)t->seg[SEG_SS] << 48);
  /* Bytes 464..511 belong to the kernel: it says there what follows the legacy image. */
  memcpy(fp, t->fx, 464);
  *(uint64_t *)((uint8_t *)fp + 512) |= 3; /* XSTATE_BV: x87 and SSE are not in their initial state */
  memcpy(code_view + t->code_offset, t->code, t->code_length);
  for (uint32_t i = 0; i < t->patch_count; i++) {
    const struct patch *p = &t->patch[i];
    memcpy(start_image + p->offset, t->blob + p->blob_at, p->length);
    memcpy(image_view + p->offset, t->blob + p->blob_at, p->length);
  }
  ticks = 0;
  __asm__ volatile("mov %0, %%es\n\tmov %1, %%ds" : : "r"((uint32_t)t->seg[SEG_ES]), "r"((uint32_t)t->seg[SEG_DS]));
  set_fs_gs(t);
}

/* Writes the result of case `current` and restores memory. */
static void save_case(const ucontext_t *uc, const uint16_t seg[4], uint32_t vector) {
  const struct test_case *t = case_at(current);
  const greg_t *g = uc->uc_mcontext.gregs;
  struct result r;
  static struct chunk chunks[IMAGE_BYTES / 16];
  uint32_t n = 0;
  memcpy(r.fx, uc->uc_mcontext.fpregs, 512);
  for (int i = 0; i < 16; i++) r.gpr[i] = (uint64_t)g[gpr_of[i]];
  r.rip = (uint64_t)g[REG_RIP];
  r.rflags = (uint64_t)g[REG_EFL];
  r.cr2 = (uint64_t)g[REG_CR2];
  r.seg[SEG_ES] = seg[0];
  r.seg[SEG_CS] = (uint16_t)g[REG_CSGSFS];
  r.seg[SEG_SS] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
  r.seg[SEG_DS] = seg[1];
  r.seg[SEG_FS] = seg[2];
  r.seg[SEG_GS] = seg[3];
  r.seg[6] = r.seg[7] = 0;
  r.vector = vector;
  r.error = (uint32_t)g[REG_ERR];
  r.index = t->index;
  for (uint32_t at = 0; at < IMAGE_BYTES; at += 16) {
    const uint64_t *now = (const uint64_t *)(image_view + at), *was = (const uint64_t *)(start_image + at);
    if (now[0] == was[0] && now[1] == was[1]) continue;
    chunks[n++] = (struct chunk){at, {now[0], now[1]}};
    memcpy(image_view + at, base_image + at, 16);
  }
  for (uint32_t i = 0; i < t->patch_count; i++) {
    const struct patch *p = &t->patch[i];
    memcpy(start_image + p->offset, base_image + p->offset, p->length);
    memcpy(image_view + p->offset, base_image + p->offset, p->length);
  }
  memset(code_view + t->code_offset, 0xcc, t->code_length);
  r.chunk_count = n;
  put(&r, sizeof r);
  put(chunks, n * sizeof *chunks);
}

/* Called by handler_entry with flags made safe. */
__attribute__((used)) static void handler(int sig, siginfo_t *info, ucontext_t *uc) {
  uint16_t seg[4];
  (void)info;
  __asm__ volatile("mov %%es, %0\n\tmov %%ds, %1\n\tmov %%fs, %2\n\tmov %%gs, %3" : "=rm"(seg[0]), "=rm"(seg[1]), "=rm"(seg[2]), "=rm"(seg[3]));
  raw_syscall(SYS_arch_prctl, 0x1002 /* ARCH_SET_FS */, (long)home_fs, 0);
  if (sig == SIGALRM) {
    if (!running) return;
    if (++ticks < 3) {
      set_fs_gs(case_at(current));
      return;
    }
    save_case(uc, seg, VECTOR_TIMEOUT);
  } else if (!running) {
    if (sig != SIGTRAP) raw_syscall(SYS_exit_group, 70, 0, 0); /* our own mistake */
    home_fp_bytes = 512 + 64;
    const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;
    uint32_t extended = *(const uint32_t *)(fp + 468); /* fpx_sw_bytes.extended_size */
    if (extended > home_fp_bytes) home_fp_bytes = extended;
    if (home_fp_bytes > sizeof home_fp) home_fp_bytes = sizeof home_fp;
    memcpy(home_fp, fp, home_fp_bytes);
    memcpy(home_gregs, uc->uc_mcontext.gregs, sizeof home_gregs);
    running = 1;
    current = 0;
    load_case(uc);
    return;
  } else {
    save_case(uc, seg, (uint32_t)uc->uc_mcontext.gregs[REG_TRAPNO]);
  }
  if (++current < case_count) {
    load_case(uc);
    return;
  }
  running = 0;
  __asm__ volatile("mov %0, %%es\n\tmov %0, %%ds\n\tmov %1, %%gs" : : "r"(0x2b), "r"(0));
  memcpy(uc->uc_mcontext.gregs, home_gregs, sizeof home_gregs);
  memcpy(uc->uc_mcontext.fpregs, home_fp, home_fp_bytes);
}

/* A case may leave NT, AC or ID set, and a compiler's code must not run with AC. */
void handler_entry(int, siginfo_t *, void *);
__asm__(".text\n.globl handler_entry\nhandler_entry:\n"
        "  pushfq\n  andq $~0x244100, (%rsp)\n  popfq\n  cld\n  jmp handler\n");

static void *map_at(uint64_t at, size_t bytes, int prot, int fd, off_t offset) {
  int fixed = at ? MAP_FIXED_NOREPLACE : 0;
  void *p = mmap((void *)at, bytes, prot, MAP_SHARED | MAP_POPULATE | fixed, fd, offset);
  if (p == MAP_FAILED || (at && p != (void *)at)) die("mmap");
  return p;
}

static void map_areas(void) {
  int fd = memfd_create("areas", 0);
  size_t all = CODE_BYTES + IMAGE_BYTES;
  if (fd < 0 || ftruncate(fd, (off_t)all) != 0) die("memfd");
  uint8_t *view = map_at(0, all, PROT_READ | PROT_WRITE, fd, 0);
  code_view = view;
  image_view = view + CODE_BYTES;
  memset(code_view, 0xcc, CODE_BYTES);
  map_at(CODE_AT, CODE_BYTES, PROT_READ | PROT_EXEC, fd, 0);
  map_at(DATA_AT, DATA_BYTES - RO_BYTES, PROT_READ | PROT_WRITE, fd, CODE_BYTES);
  map_at(DATA_AT + DATA_BYTES - RO_BYTES, RO_BYTES, PROT_READ, fd, CODE_BYTES + DATA_BYTES - RO_BYTES);
  map_at(STACK_AT, STACK_BYTES, PROT_READ | PROT_WRITE, fd, CODE_BYTES + DATA_BYTES);
}

/* Entries of the local descriptor table; areas.mjs has the same ones for the engine. */
static int set_ldt(unsigned entry, uint64_t base, unsigned limit, int contents, int is32) {
  struct user_desc d = {0};
  d.entry_number = entry;
  d.base_addr = (unsigned)base;
  d.limit = limit;
  d.seg_32bit = (unsigned)is32;
  d.contents = (unsigned)contents;
  return (int)raw_syscall(SYS_modify_ldt, 1, (long)&d, sizeof d);
}

static int make_ldt(void) {
  return set_ldt(0, CODE_AT, 0xffff, 2, 0) | set_ldt(1, DATA_AT, 0xffff, 0, 0) | set_ldt(2, STACK_AT, 0xffff, 0, 0) |
         set_ldt(3, DATA_AT, DATA_BYTES - 0x801, 0, 1) | set_ldt(4, DATA_AT, 0x7ff, 1, 1);
}

/* Vendor of the processor and whether a hypervisor is below, by CPUID. */
static void print_probe(int ldt) {
  unsigned eax, name[3], ecx, other;
  __cpuid(0, eax, name[0], name[2], name[1]);
  __cpuid(1, eax, other, ecx, other);
  printf("{\"ldt\":%s,\"caseBytes\":%zu,\"resultBytes\":%zu,\"vendor\":\"%.12s\",\"hypervisor\":%s}\n", ldt ? "true" : "false",
         sizeof(struct test_case), sizeof(struct result), (const char *)name, ecx >> 31 ? "true" : "false");
}

static void read_input(void) {
  size_t size = 0, room = 1 << 20;
  input = malloc(room);
  for (;;) {
    if (size == room) input = realloc(input, room *= 2);
    if (!input) die("memory");
    ssize_t n = read(0, input + size, room - size);
    if (n < 0) die("read");
    if (n == 0) break;
    size += (size_t)n;
  }
  struct header h;
  if (size < sizeof h + IMAGE_BYTES) die("short input");
  memcpy(&h, input, sizeof h);
  if (h.magic != MAGIC || size != sizeof h + IMAGE_BYTES + (size_t)h.count * sizeof(struct test_case)) die("bad input");
  case_count = h.count;
  memcpy(base_image, input + sizeof h, IMAGE_BYTES);
}

int main(int argc, char **argv) {
  static uint8_t alternate[1 << 17] __attribute__((aligned(64)));
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};
  int no_ldt = make_ldt();
  if (argc > 1 && strcmp(argv[1], "--probe") == 0) {
    print_probe(no_ldt == 0);
    return 0;
  }
  read_input();
  if (case_count == 0) return 0;
  map_areas();
  memcpy(start_image, base_image, IMAGE_BYTES);
  memcpy(image_view, base_image, IMAGE_BYTES);
  raw_syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, (long)&home_fs, 0);
  stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
  if (sigaltstack(&ss, NULL) != 0) die("sigaltstack");
  struct sigaction sa = {0};
  sa.sa_sigaction = handler_entry;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&sa.sa_mask);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &sa, NULL);
  struct itimerval tick = {{0, 500000}, {0, 500000}};
  setitimer(ITIMER_REAL, &tick, NULL);
  __asm__ volatile("int3" ::: "memory"); /* runs all cases */
  flush_output();
  return 0;
}

/* Programs that give up rights while they use KVM. Each part runs in a process of its own. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "machine.h"

#define OUT_HLT "\xe6\x10\xf4" /* out 10h,al; hlt */

static struct machine m;

static void *calls_of_another(void *unused) {
  (void)unused;
  show("api", ioctl(m.kvm, KVM_GET_API_VERSION, 0));
  run_once("run", &m);
  return NULL;
}

/* Another thread uses the machine, and this one makes a second machine and more memory. */
static void go_on(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, calls_of_another, NULL);
  pthread_join(thread, NULL);
  struct machine second = machine_of(m.kvm, NULL);
  CODE_IS(&second, OUT_HLT);
  run_once("second", &second);
  void *more = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  show("more memory", set_slot(&second, 1, SIZE, more, SIZE));
  run_once("second", &second);
}

/* A call of the system fails with EPERM from now on. */
static void forbid(unsigned number) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  must("no new rights", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  must("filter", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void part_no_readv(void) {
  forbid(SYS_process_vm_readv);
  go_on();
}

/* A run that is over, and one that takes a while. */
static void part_no_poll(void) {
  forbid(SYS_poll);
  go_on();
  CODE_IS(&m, "\x66\xb9\x00\x00\x20\x00\x67\xe2\xfd\xe6\x11"); /* mov ecx,200000h; loop; out 11h,al */
  enter_at(m.vcpu, CODE);
  run_once("long", &m);
}

static void part_environment(void) {
  clearenv();
  go_on();
}

static void part_user(void) {
  must("group", setgid(65534));
  must("user", setuid(65534));
  go_on();
}

static void part_root(void) {
  char folder[] = "/tmp/kvm-xen-root-XXXXXX";
  must("folder", mkdtemp(folder) ? 0 : -1);
  int before = open("/", O_PATH | O_DIRECTORY);
  must("chroot", chroot(folder));
  go_on();
  fchdir(before);
  chroot(".");
  rmdir(folder);
}

static const struct {
  const char *name;
  void (*part)(void);
} parts[] = {
    {"no-readv", part_no_readv}, {"no-poll", part_no_poll}, {"environment", part_environment},
    {"user", part_user},         {"root", part_root},
};

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  mkdir("/tmp", 0777);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    bool wanted = argc == 1;
    for (int a = 1; a < argc; a++) wanted |= !strcmp(argv[a], parts[i].name);
    if (!wanted) continue;
    printf("-- %s\n", parts[i].name);
    pid_t child = fork();
    if (child == 0) {
      m = new_machine(NULL);
      CODE_IS(&m, OUT_HLT);
      run_once("run", &m);
      parts[i].part();
      exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status) printf("ended by %x\n", status);
  }
  return 0;
}

/*
 * Threads that copy their files to numbers from 900 on, where the preload library has its own descriptors,
 * and close them again, while other threads begin, call KVM and end, and the process forks.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "machine.h"

#define FIRST 900
#define COUNT 20
#define ROUNDS 150

static int kvm;
static atomic_int stop, calls_failed, copies_failed;

static void *calls(void *unused) {
  if (ioctl(kvm, KVM_GET_API_VERSION, 0) != 12) calls_failed++;
  return unused;
}

static ino_t file_at(int fd) {
  struct stat status;
  return fstat(fd, &status) ? 0 : status.st_ino;
}

/* Every second number is this thread's. */
static void *copies(void *which) {
  unsigned odd = (unsigned)(uintptr_t)which, seed = odd + 1;
  int file = memfd_create("places", MFD_CLOEXEC);
  while (!stop) {
    int to = FIRST + 2 * (rand_r(&seed) % (COUNT / 2)) + (int)odd;
    int got = rand_r(&seed) & 1 ? dup2(file, to) : dup3(file, to, O_CLOEXEC);
    if (got != to || file_at(to) != file_at(file)) copies_failed++;
    if (rand_r(&seed) % 4 && close(to)) copies_failed++;
  }
  return NULL;
}

/* One that hangs is ended. */
static int child(void) {
  pid_t pid = fork();
  if (pid == 0) {
    alarm(10);
    int own = open("/dev/kvm", O_RDWR);
    for (int to = FIRST; to < FIRST + 4; to++) dup2(0, to);
    _exit(ioctl(own, KVM_GET_API_VERSION, 0) != 12);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status != 0;
}

int main(void) {
  pthread_t copying[2], calling;
  int children_failed = 0;
  kvm = open("/dev/kvm", O_RDWR);
  for (uintptr_t i = 0; i < 2; i++) pthread_create(&copying[i], NULL, copies, (void *)i);
  for (int i = 0; i < ROUNDS; i++) {
    pthread_create(&calling, NULL, calls, NULL);
    pthread_join(calling, NULL);
    if (i % 10 == 0) children_failed += child();
  }
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(copying[i], NULL);
  printf("calls failed: %d, copies failed: %d, children failed: %d\n", calls_failed, copies_failed,
         children_failed);
  return 0;
}

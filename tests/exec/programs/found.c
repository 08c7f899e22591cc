/*
 * Says which /dev/kvm a program has: `api` opens it, `cpus` asks for its processors, `run` runs a vCPU that halts,
 * `hello NAME` speaks to a server.
 */
#define _GNU_SOURCE
#include "machine.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static int hello(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path + 1, name, strlen(name));
  int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
  uint64_t request[5] = {1, 1, (uint64_t)getpid(), 1, 0}, answer[5] = {0};
  if (connect(fd, (struct sockaddr *)&address, size)) return puts("no server"), 1;
  send(fd, request, sizeof request, MSG_NOSIGNAL);
  printf("%s\n", recv(fd, answer, sizeof answer, 0) > 0 ? "served" : "refused");
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 2) return hello(argv[2]);
  int kvm = open("/dev/kvm", O_RDWR);
  printf("open: %s\n", kvm < 0 ? name_of(errno) : "0");
  if (kvm < 0) return 0;
  printf("api: %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
  if (argc > 1 && !strcmp(argv[1], "cpus"))
    printf("cpus: %d\n", ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS));
  if (argc < 2 || strcmp(argv[1], "run")) return 0;
  int vm = ioctl(kvm, KVM_CREATE_VM, 0), vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  struct kvm_run *run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  run->immediate_exit = 1;
  printf("run: %s\n", ioctl(vcpu, KVM_RUN, 0) ? name_of(errno) : "0");
  return 0;
}

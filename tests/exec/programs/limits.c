/* What a server under `kvm-xen exec` gives back, and what it answers when it has no more. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>

#include "machine.h"

static pid_t server(void) { return atoi(getenv("KVM_XEN_EXEC_SERVER")); }

static int server_descriptors(void) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd", server());
  DIR *folder = opendir(path);
  int count = 0;
  while (folder && readdir(folder)) count++;
  if (folder) closedir(folder);
  return count;
}

/* The largest number of the server's descriptors. */
static int highest_descriptor(void) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd", server());
  DIR *folder = opendir(path);
  int highest = 0;
  for (struct dirent *entry; folder && (entry = readdir(folder));)
    if (atoi(entry->d_name) > highest) highest = atoi(entry->d_name);
  if (folder) closedir(folder);
  return highest;
}

static void *open_another(void *unused) {
  show("open by another thread", open("/dev/kvm", O_RDWR));
  return unused;
}

static void limit_server(int resource, rlim_t value) {
  struct rlimit limit = {value, value};
  must("prlimit", prlimit(server(), resource, &limit, NULL));
}

/* Whether the server has at most so many descriptors more than before, soon. */
static void show_more(int before, int most) {
  int more = 0;
  for (int i = 0; i < 100; i++) {
    more = server_descriptors() - before;
    if (more <= most) break;
    usleep(20000);
  }
  if (more <= most)
    puts("more descriptors in the server: few");
  else
    printf("more descriptors in the server: %d\n", more);
}

/* Each is used in two ways, and closed. */
static void eventfds(struct machine *m, int count) {
  must("irqchip", ioctl(m->vm, KVM_CREATE_IRQCHIP, 0));
  int before = server_descriptors();
  for (int i = 0; i < count; i++) {
    int fd = eventfd(0, EFD_CLOEXEC);
    struct kvm_irqfd irq = {.fd = fd, .gsi = i % 24};
    struct kvm_ioeventfd io = {.addr = 0x10000000, .len = 4, .fd = fd};
    must("irqfd", ioctl(m->vm, KVM_IRQFD, &irq));
    must("ioeventfd", ioctl(m->vm, KVM_IOEVENTFD, &io));
    irq.flags = KVM_IRQFD_FLAG_DEASSIGN;
    io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
    must("irqfd", ioctl(m->vm, KVM_IRQFD, &irq));
    must("ioeventfd", ioctl(m->vm, KVM_IOEVENTFD, &io));
    close(fd);
  }
  show_more(before, count / 4);
}

static void machines(int count) {
  int before = server_descriptors();
  for (int i = 0; i < count; i++) {
    struct machine m = new_machine(NULL);
    CODE_IS(&m, "\xf4");
    must("run", ioctl(m.vcpu, KVM_RUN, 0));
    end_machine(&m);
    munmap(m.memory, SIZE);
  }
  show_more(before, count / 4);
}

/* Thousands of slots with a mapping each: what a slot takes of this process must not grow with those that are there. */
static void slots(int kvm) {
  struct machine m = {.kvm = kvm, .vm = ioctl(kvm, KVM_CREATE_VM, 0)};
  struct rlimit files;
  double took[4];
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  for (int part = 0; part < 4; part++) {
    clock_t before = clock();
    for (int i = part * 750; i < (part + 1) * 750; i++) {
      void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      must("slot", set_slot(&m, i, (uint64_t)i * 4096, at, 4096));
    }
    took[part] = (double)(clock() - before) / CLOCKS_PER_SEC;
  }
  bool grows = took[3] > 0.25;
  printf("3000 slots: %s\n", grows ? "slower and slower" : "in proportion");
  if (grows) printf("%.2f %.2f %.2f %.2f s\n", took[0], took[1], took[2], took[3]);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "machines")) return machines(atoi(argv[2])), 0;
  int kvm = open("/dev/kvm", O_RDWR);
  if (!strcmp(what, "eventfds")) {
    struct machine m = {.kvm = kvm, .vm = ioctl(kvm, KVM_CREATE_VM, 0)};
    eventfds(&m, atoi(argv[2]));
  }
  if (!strcmp(what, "slots")) slots(kvm);
  if (!strcmp(what, "memory")) {
    limit_server(RLIMIT_AS, 1ul << 32);
    show("VM", ioctl(kvm, KVM_CREATE_VM, 0));
  }
  if (!strcmp(what, "descriptors")) {
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    must("VM", vm);
    limit_server(RLIMIT_NOFILE, 10);
    show("VM", ioctl(kvm, KVM_CREATE_VM, 0));
    show("vCPU", ioctl(vm, KVM_CREATE_VCPU, 0));
  }
  if (!strcmp(what, "unserved")) {
    pthread_t thread;
    limit_server(RLIMIT_NOFILE, (rlim_t)highest_descriptor() + 1);
    while (open("/dev/kvm", O_RDWR) >= 0) {
    }
    pthread_create(&thread, NULL, open_another, NULL);
    pthread_join(thread, NULL);
  }
  show("api", ioctl(kvm, KVM_GET_API_VERSION, 0));
  return 0;
}

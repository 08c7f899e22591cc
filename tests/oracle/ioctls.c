// ioctls: plays a file of single ioctls against a KVM device and prints what each one answered and
// changed, so that another implementation can be compared with diff(1). For argument errors, where
// scenario files (probe.c) do not reach.
//
//   open NAME | memory NAME SIZE | eventfd NAME | close NAME
//   NAME = FD REQUEST ARG       a call that gives a descriptor
//   FD REQUEST ARG              a call; prints the argument's bytes when they changed
//   run FD [MS]                 KVM_RUN, ended by a signal after MS milliseconds
//   page FD OFFSET LENGTH | setpage FD OFFSET HEX       a vCPU's shared pages
//   put NAME OFFSET HEX | get NAME OFFSET LENGTH        memory
//
// ARG is =N for a number, `null`, `bad` for an address where nothing is, or the bytes of a structure
// as SIZE:VALUE (little-endian; &NAME is an address, %NAME a descriptor), zN for N zero bytes, xHEX.
// Nothing is mapped behind those bytes, so that a structure cut short is found out.
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define AREA (64 * PAGE)

static const struct { const char *name; unsigned number; } requests[] = {
#define N(x) {#x, x}
	N(KVM_GET_API_VERSION), N(KVM_CREATE_VM), N(KVM_GET_MSR_INDEX_LIST), N(KVM_CHECK_EXTENSION),
	N(KVM_GET_VCPU_MMAP_SIZE), N(KVM_GET_SUPPORTED_CPUID), N(KVM_GET_EMULATED_CPUID),
	N(KVM_GET_MSR_FEATURE_INDEX_LIST), N(KVM_X86_GET_MCE_CAP_SUPPORTED), N(KVM_GET_SUPPORTED_HV_CPUID),
	N(KVM_CREATE_VCPU), N(KVM_GET_DIRTY_LOG), N(KVM_SET_NR_MMU_PAGES), N(KVM_GET_NR_MMU_PAGES),
	N(KVM_SET_USER_MEMORY_REGION), N(KVM_SET_TSS_ADDR), N(KVM_SET_IDENTITY_MAP_ADDR),
	N(KVM_SET_USER_MEMORY_REGION2), N(KVM_CREATE_IRQCHIP), N(KVM_IRQ_LINE), N(KVM_GET_IRQCHIP),
	N(KVM_SET_IRQCHIP), N(KVM_CREATE_PIT), N(KVM_GET_PIT), N(KVM_SET_PIT), N(KVM_IRQ_LINE_STATUS),
	N(KVM_REGISTER_COALESCED_MMIO), N(KVM_UNREGISTER_COALESCED_MMIO), N(KVM_SET_GSI_ROUTING),
	N(KVM_REINJECT_CONTROL), N(KVM_IRQFD), N(KVM_CREATE_PIT2), N(KVM_SET_BOOT_CPU_ID), N(KVM_IOEVENTFD),
	N(KVM_XEN_HVM_CONFIG), N(KVM_SET_CLOCK), N(KVM_GET_CLOCK), N(KVM_GET_PIT2), N(KVM_SET_PIT2),
	N(KVM_SIGNAL_MSI), N(KVM_SET_PMU_EVENT_FILTER), N(KVM_MEMORY_ENCRYPT_OP),
	N(KVM_MEMORY_ENCRYPT_REG_REGION), N(KVM_HYPERV_EVENTFD), N(KVM_CLEAR_DIRTY_LOG),
	N(KVM_X86_SET_MSR_FILTER), N(KVM_RESET_DIRTY_RINGS), N(KVM_XEN_HVM_GET_ATTR), N(KVM_XEN_HVM_SET_ATTR),
	N(KVM_XEN_HVM_EVTCHN_SEND), N(KVM_SET_MEMORY_ATTRIBUTES), N(KVM_CREATE_GUEST_MEMFD),
	N(KVM_CREATE_DEVICE), N(KVM_RUN), N(KVM_GET_REGS), N(KVM_SET_REGS), N(KVM_GET_SREGS), N(KVM_SET_SREGS),
	N(KVM_TRANSLATE), N(KVM_INTERRUPT), N(KVM_GET_MSRS), N(KVM_SET_MSRS), N(KVM_SET_CPUID),
	N(KVM_SET_SIGNAL_MASK), N(KVM_GET_FPU), N(KVM_SET_FPU), N(KVM_GET_LAPIC), N(KVM_SET_LAPIC),
	N(KVM_SET_CPUID2), N(KVM_GET_CPUID2), N(KVM_TPR_ACCESS_REPORTING), N(KVM_SET_VAPIC_ADDR),
	N(KVM_GET_MP_STATE), N(KVM_SET_MP_STATE), N(KVM_NMI), N(KVM_SET_GUEST_DEBUG), N(KVM_X86_SETUP_MCE),
	N(KVM_X86_SET_MCE), N(KVM_GET_VCPU_EVENTS), N(KVM_SET_VCPU_EVENTS), N(KVM_GET_DEBUGREGS),
	N(KVM_SET_DEBUGREGS), N(KVM_SET_TSC_KHZ), N(KVM_GET_TSC_KHZ), N(KVM_ENABLE_CAP), N(KVM_GET_XSAVE),
	N(KVM_SET_XSAVE), N(KVM_GET_XCRS), N(KVM_SET_XCRS), N(KVM_GET_ONE_REG), N(KVM_SET_ONE_REG),
	N(KVM_KVMCLOCK_CTRL), N(KVM_GET_REG_LIST), N(KVM_SMI), N(KVM_GET_NESTED_STATE), N(KVM_SET_NESTED_STATE),
	N(KVM_XEN_VCPU_GET_ATTR), N(KVM_XEN_VCPU_SET_ATTR), N(KVM_GET_SREGS2), N(KVM_SET_SREGS2),
	N(KVM_GET_STATS_FD), N(KVM_GET_XSAVE2), N(KVM_PRE_FAULT_MEMORY), N(KVM_SET_DEVICE_ATTR),
	N(KVM_GET_DEVICE_ATTR), N(KVM_HAS_DEVICE_ATTR),
};

static struct { char name[32]; int fd; uint8_t *at; uint8_t *page; } things[512];
static int count;
static uint8_t *area;

static int find(const char *name)
{
	for (int i = count - 1; i >= 0; i--)
		if (!strcmp(things[i].name, name)) return i;
	printf("? no %s\n", name);
	exit(2);
}

static int add(const char *name)
{
	snprintf(things[count].name, sizeof things[count].name, "%s", name);
	things[count].fd = -1;
	return count++;
}

static int fd_of(const char *name)
{
	return isdigit((unsigned char)*name) || *name == '-' ? atoi(name) : things[find(name)].fd;
}

static unsigned request_of(const char *name)
{
	for (unsigned i = 0; i < sizeof requests / sizeof *requests; i++)
		if (!strcmp(requests[i].name, name)) return requests[i].number;
	return strtoul(name, NULL, 16);
}

static size_t unhex(const char *s, uint8_t *out)
{
	size_t n = 0;
	for (; s[0] && s[1]; s += 2) {
		char b[3] = {s[0], s[1], 0};
		out[n++] = strtoul(b, NULL, 16);
	}
	return n;
}

static void hex(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) printf("%02x", p[i]);
}

static uint64_t value_of(const char *s)
{
	if (*s == '&') return (uint64_t)things[find(s + 1)].at;
	if (*s == '%') return fd_of(s + 1);
	return strtoull(s, NULL, 0);
}

static void result(long r)
{
	if (r >= 0) printf(" = %ld", r);
	else printf(" = -%s", strerrorname_np(errno));
}

static void step(char **a, int n)
{
	static uint8_t bytes[AREA];
	size_t size = 0;
	const char *target = NULL;
	if (n > 2 && !strcmp(a[1], "=")) { target = a[0]; a += 2; n -= 2; }
	unsigned long arg = 0;
	int is_bytes = 0;
	for (int i = 2; i < n; i++) {
		if (*a[i] == '=') arg = strtoull(a[i] + 1, NULL, 0);
		else if (!strcmp(a[i], "null")) arg = 0;
		else if (!strcmp(a[i], "bad")) arg = 0x20000;
		else {
			is_bytes = 1;
			if (*a[i] == 'z') { size_t z = strtoul(a[i] + 1, NULL, 0); memset(bytes + size, 0, z); size += z; }
			else if (*a[i] == 'x') size += unhex(a[i] + 1, bytes + size);
			else {
				uint64_t v = value_of(strchr(a[i], ':') + 1);
				int w = atoi(a[i]);
				memcpy(bytes + size, &v, w);
				size += w;
			}
		}
	}
	uint8_t *at = area + AREA - size;
	if (is_bytes) { memcpy(at, bytes, size); arg = (unsigned long)at; }
	long r = ioctl(fd_of(a[0]), request_of(a[1]), arg);
	if (target && r >= 0) {
		int i = add(target);
		things[i].fd = r;
		void *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0);
		things[i].page = p == MAP_FAILED ? NULL : p;
		printf(" = fd");
		return;
	}
	result(r);
	if (is_bytes && memcmp(at, bytes, size)) { printf(" "); hex(at, size); }
}

static void on_alarm(int sig) { (void)sig; }

static void run_step(const char *fd, long ms)
{
	struct itimerval t = {{0, 20000}, {ms / 1000, ms % 1000 * 1000}};
	setitimer(ITIMER_REAL, &t, NULL);
	long r = ioctl(fd_of(fd), KVM_RUN, 0);
	int e = errno;
	memset(&t, 0, sizeof t);
	setitimer(ITIMER_REAL, &t, NULL);
	errno = e;
	result(r);
	printf(" exit=%u", ((struct kvm_run *)things[find(fd)].page)->exit_reason);
}

static void play(char **a, int n)
{
	if (!strcmp(a[0], "open")) things[add(a[1])].fd = open("/dev/kvm", O_RDWR);
	else if (!strcmp(a[0], "eventfd")) things[add(a[1])].fd = eventfd(0, EFD_NONBLOCK);
	else if (!strcmp(a[0], "memory"))
		things[add(a[1])].at = mmap(NULL, strtoul(a[2], NULL, 0), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	else if (!strcmp(a[0], "close")) result(close(fd_of(a[1])));
	else if (!strcmp(a[0], "run")) run_step(a[1], n > 2 ? atol(a[2]) : 200);
	else if (!strcmp(a[0], "page")) {
		printf(" = ");
		hex(things[find(a[1])].page + strtoul(a[2], NULL, 0), strtoul(a[3], NULL, 0));
	} else if (!strcmp(a[0], "setpage")) unhex(a[3], things[find(a[1])].page + strtoul(a[2], NULL, 0));
	else if (!strcmp(a[0], "put")) unhex(a[3], things[find(a[1])].at + strtoul(a[2], NULL, 0));
	else if (!strcmp(a[0], "get")) {
		printf(" = ");
		hex(things[find(a[1])].at + strtoul(a[2], NULL, 0), strtoul(a[3], NULL, 0));
	} else step(a, n);
}

static void play_file(const char *name)
{
	FILE *f = fopen(name, "r");
	static char line[65536], copy[65536];
	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		char *a[256];
		int n = 0;
		strcpy(copy, line);
		for (char *t = strtok(copy, " "); t && n < 256; t = strtok(NULL, " ")) a[n++] = t;
		if (n == 0 || *a[0] == '#') continue;
		printf("%s", line);
		play(a, n);
		printf("\n");
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
	area = mmap(NULL, AREA + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(area + AREA, PAGE);
	for (int i = 1; i < argc; i++) {
		if (argc > 2) printf("== %s\n", argv[i]);
		fflush(stdout);
		// Each file finds a process as new as the last: what lies behind a structure, free descriptors.
		pid_t child = argc > 2 ? fork() : 0;
		if (child == 0) play_file(argv[i]);
		if (child == 0 && argc > 2) exit(0);
		if (child > 0) waitpid(child, NULL, 0);
	}
	return 0;
}

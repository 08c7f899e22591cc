// probe: plays scenario files against a KVM device and prints what each step answered.
//
// A scenario is a text file, one step a line (README.md beside this file lists the steps). The
// output repeats each step and, after " = ", its result, so that the same scenario played against
// two implementations can be compared with diff(1).
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
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

#define MAX_SLOTS 32
#define MAX_VCPUS 64
#define PAGE 4096UL

struct slot { bool used; uint64_t gpa, size; uint8_t *hva; unsigned flags; };
struct vcpu { int fd; struct kvm_run *run; };

static int kvm_fd = -1, vm_fd = -1;
static struct slot slots[MAX_SLOTS];
static struct vcpu vcpus[MAX_VCPUS];
static int run_size;
static int eventfds[16];
// What `migrate` has to make again: the interrupt controller, the configuration, the vCPUs in order.
static char chip;
static struct kvm_xen_hvm_config last_config;
static unsigned created[MAX_VCPUS], created_count;

static const struct { int n; const char *name; } errnos[] = {
	{EINVAL, "EINVAL"}, {EFAULT, "EFAULT"}, {ENOENT, "ENOENT"}, {EEXIST, "EEXIST"},
	{ENOTTY, "ENOTTY"}, {EAGAIN, "EAGAIN"}, {ENOTCONN, "ENOTCONN"}, {ENOSYS, "ENOSYS"},
	{EOPNOTSUPP, "EOPNOTSUPP"}, {ENXIO, "ENXIO"}, {EBUSY, "EBUSY"}, {EPERM, "EPERM"},
	{ENOSPC, "ENOSPC"}, {EINTR, "EINTR"}, {ENOMEM, "ENOMEM"}, {EBADF, "EBADF"}, {E2BIG, "E2BIG"},
	{EIO, "EIO"},
};

static void result(long ret)
{
	if (ret >= 0) { printf(" = %ld", ret); return; }
	for (unsigned i = 0; i < sizeof errnos / sizeof *errnos; i++)
		if (errnos[i].n == errno) { printf(" = -%s", errnos[i].name); return; }
	printf(" = -errno%d", errno);
}

static void hex(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++) printf("%02x", ((const uint8_t *)p)[i]);
}

static size_t unhex(const char *s, void *out, size_t max)
{
	size_t n = 0;
	for (; s && s[0] && s[1] && n < max; s += 2, n++) {
		char b[3] = {s[0], s[1], 0};
		((uint8_t *)out)[n] = strtoul(b, NULL, 16);
	}
	return n;
}

static uint8_t *hva_of(uint64_t gpa)
{
	for (int i = 0; i < MAX_SLOTS; i++)
		if (slots[i].used && gpa >= slots[i].gpa && gpa < slots[i].gpa + slots[i].size)
			return slots[i].hva + (gpa - slots[i].gpa);
	return NULL;
}

static const char *const hvm_types[] = {"LONG_MODE", "SHARED_INFO", "UPCALL_VECTOR", "EVTCHN",
	"XEN_VERSION", "RUNSTATE_UPDATE_FLAG", "SHARED_INFO_HVA"};
static const char *const vcpu_types[] = {"VCPU_INFO", "VCPU_TIME_INFO", "RUNSTATE_ADDR",
	"RUNSTATE_CURRENT", "RUNSTATE_DATA", "RUNSTATE_ADJUST", "VCPU_ID", "TIMER",
	"UPCALL_VECTOR", "VCPU_INFO_HVA"};

static unsigned type_of(const char *s, const char *const *names, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(s, names[i])) return i;
	return strtoul(s, NULL, 0);
}

// The attribute structs share a shape: u16 type, u16 pad[3], then a 64-byte union.
struct attr { uint16_t type, pad[3]; uint8_t u[64]; };
// ioctl numbers as Linux 6.12 defines them; older headers lack some.
#define X_HVM_CONFIG _IOW(KVMIO, 0x7a, struct kvm_xen_hvm_config)
#define X_HVM_GET _IOWR(KVMIO, 0xc8, struct attr)
#define X_HVM_SET _IOW(KVMIO, 0xc9, struct attr)
#define X_VCPU_GET _IOWR(KVMIO, 0xca, struct attr)
#define X_VCPU_SET _IOW(KVMIO, 0xcb, struct attr)
struct evtchn { uint32_t port, vcpu, priority; };
#define X_EVTCHN_SEND _IOW(KVMIO, 0xd0, struct evtchn)
#define X_ROUTING_XEN_EVTCHN 5
#define X_EXIT_XEN 34

static void attr_step(int fd, bool set, bool is_vcpu, const char *type, const char *payload)
{
	struct attr a = {0};
	a.type = is_vcpu ? type_of(type, vcpu_types, 10) : type_of(type, hvm_types, 7);
	// "@GPA" stands for the host virtual address that backs GPA (8 bytes, little endian)
	if (payload && payload[0] == '@') {
		uint64_t va = (uint64_t)hva_of(strtoull(payload + 1, NULL, 0));
		memcpy(a.u, &va, 8);
	} else
		unhex(payload, a.u, sizeof a.u);
	uint8_t before[64];
	memcpy(before, a.u, 64);
	int r = ioctl(fd, set ? (is_vcpu ? X_VCPU_SET : X_HVM_SET) : (is_vcpu ? X_VCPU_GET : X_HVM_GET), &a);
	result(r);
	if (!set && r == 0) {
		bool is_hva = is_vcpu ? a.type == 9 : a.type == 6;
		putchar(' ');
		if (is_hva) {
			uint64_t va;
			memcpy(&va, a.u, 8);
			for (int i = 0; i < MAX_SLOTS; i++)
				if (slots[i].used && va >= (uint64_t)slots[i].hva && va < (uint64_t)slots[i].hva + slots[i].size) {
					printf("@0x%lx", slots[i].gpa + va - (uint64_t)slots[i].hva);
					return;
				}
			if (va) { printf("@?"); return; } // backed by a slot that is gone
		}
		hex(a.u, 64);
	}
}

static void runstate_step(int fd)
{
	struct attr a = {.type = 4};
	int r = ioctl(fd, X_VCPU_GET, &a);
	result(r);
	if (r) return;
	uint64_t v[6];
	memcpy(v, a.u, sizeof v);
	printf(" state=%lu sum_is_entry=%d blocked=%c offline=%c", v[0],
	       v[2] + v[3] + v[4] + v[5] == v[1], v[4] ? '+' : '0', v[5] ? '+' : '0');
}

static void slot_step(unsigned id, uint64_t gpa, uint64_t size, unsigned flags)
{
	struct slot *s = &slots[id];
	struct kvm_userspace_memory_region m = {.slot = id, .flags = flags, .guest_phys_addr = gpa, .memory_size = size};
	uint8_t *hva = NULL;
	if (size) {
		hva = s->used && s->size == size ? s->hva
			: mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		m.userspace_addr = (uint64_t)hva;
	}
	int r = ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &m);
	result(r);
	if (r) return;
	*s = size ? (struct slot){true, gpa, size, hva, flags} : (struct slot){0};
}

// Flat segments, set through KVM_SET_SREGS, with a matching GDT at 0x7f000 (the scenario brings an IDT
// where it takes interrupts).
// 64-bit: first 4 GiB identity-mapped by 2 MiB pages, tables at 0x80000. 32-bit: paging off.
// COMPAT: as 64-bit, but with the 32-bit code segment.
enum { COMPAT = 6432 };
static void mode_step(struct vcpu *v, int bits, int cpl)
{
	struct kvm_sregs s;
	int r = ioctl(v->fd, KVM_GET_SREGS, &s);
	struct kvm_segment code = {.base = 0, .limit = 0xffffffff, .selector = 8 | cpl, .type = 11, .present = 1,
		.dpl = cpl, .db = bits != 64, .s = 1, .l = bits == 64, .g = 1};
	struct kvm_segment data = code;
	data.type = 3; data.l = 0; data.db = 1; data.selector = 16 | cpl;
	s.cs = code; s.ds = s.es = s.ss = s.fs = s.gs = data;
	uint64_t *gdt = (uint64_t *)hva_of(0x7f000);
	gdt[0] = 0;
	gdt[1] = (bits == 64 ? 0x00af9b000000ffffULL : 0x00cf9b000000ffffULL) | (uint64_t)cpl << 45;
	gdt[2] = 0x00cf93000000ffffULL | (uint64_t)cpl << 45;
	s.gdt.base = 0x7f000; s.gdt.limit = 23;
	s.cr0 = 0x11; s.cr4 = 0; s.efer = 0; s.cr3 = 0;
	if (bits != 32) {
		uint64_t *pml4 = (uint64_t *)hva_of(0x80000), *pdpt = (uint64_t *)hva_of(0x81000);
		pml4[0] = 0x81000 | 7;
		for (uint64_t g = 0; g < 4; g++) {
			uint64_t *pd = (uint64_t *)hva_of(0x82000 + g * PAGE);
			pdpt[g] = (0x82000 + g * PAGE) | 7;
			for (uint64_t i = 0; i < 512; i++) pd[i] = ((g * 512 + i) << 21) | 0x87;
		}
		s.cr0 = 0x80050033; s.cr3 = 0x80000; s.cr4 = 0x220; s.efer = 0x500;
	}
	r |= ioctl(v->fd, KVM_SET_SREGS, &s);
	result(r);
}

// Real mode with all segments at 0.
static void mode16_step(struct vcpu *v)
{
	struct kvm_sregs s;
	int r = ioctl(v->fd, KVM_GET_SREGS, &s);
	if (r) { result(r); return; }
	struct kvm_segment code = {.base = 0, .limit = 0xffff, .selector = 0, .type = 11, .present = 1, .s = 1};
	struct kvm_segment data = code;
	data.type = 3;
	s.cs = code; s.ds = s.es = s.ss = s.fs = s.gs = data;
	s.cr0 = 0x10; s.cr4 = 0; s.efer = 0; s.cr3 = 0;
	result(ioctl(v->fd, KVM_SET_SREGS, &s));
}

static void regs_step(struct vcpu *v, char *list)
{
	static const char *const names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8", "r9",
		"r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags"};
	struct kvm_regs regs;
	int r = ioctl(v->fd, KVM_GET_REGS, &regs);
	uint64_t *f = (uint64_t *)&regs;
	bool set = false;
	for (char *save, *t = strtok_r(list, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
		char *eq = strchr(t, '=');
		if (eq) *eq = 0;
		for (int i = 0; i < 18; i++)
			if (!strcmp(t, names[i])) {
				if (eq) { f[i] = strtoull(eq + 1, NULL, 0); set = true; }
				else printf(" %s:%lx", t, f[i]);
			}
	}
	if (set) r |= ioctl(v->fd, KVM_SET_REGS, &regs);
	result(r);
}

static void on_alarm(int sig) { (void)sig; }

static void run_step(struct vcpu *v, unsigned ms)
{
	struct itimerval t = {{0, 20000}, {ms / 1000, (ms % 1000) * 1000}}, off = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &t, NULL);
	int r = ioctl(v->fd, KVM_RUN, 0);
	int e = errno;
	setitimer(ITIMER_REAL, &off, NULL);
	errno = e;
	result(r);
	if (r) return;
	struct kvm_run *k = v->run;
	uint8_t *u = (uint8_t *)&k->io; // start of the exit union
	switch (k->exit_reason) {
	case KVM_EXIT_IO:
		printf(" IO %s port=0x%x size=%u count=%u", k->io.direction ? "out" : "in", k->io.port, k->io.size, k->io.count);
		if (k->io.direction) { printf(" data="); hex((uint8_t *)k + k->io.data_offset, k->io.size * k->io.count); }
		break;
	case KVM_EXIT_MMIO:
		printf(" MMIO %s gpa=0x%llx len=%u", k->mmio.is_write ? "write" : "read", k->mmio.phys_addr, k->mmio.len);
		if (k->mmio.is_write) { printf(" data="); hex(k->mmio.data, k->mmio.len); }
		break;
	case KVM_EXIT_HLT: printf(" HLT"); break;
	case KVM_EXIT_SHUTDOWN: printf(" SHUTDOWN"); break;
	case KVM_EXIT_IRQ_WINDOW_OPEN: printf(" IRQ_WINDOW_OPEN"); break;
	case X_EXIT_XEN: {
		uint32_t type = *(uint32_t *)u, longmode = *(uint32_t *)(u + 8), cpl = *(uint32_t *)(u + 12);
		uint64_t *q = (uint64_t *)(u + 16);
		printf(" XEN type=%u longmode=%u cpl=%u input=0x%lx params=%lx,%lx,%lx,%lx,%lx,%lx", type, longmode, cpl,
		       q[0], q[2], q[3], q[4], q[5], q[6], q[7]);
		break;
	}
	case KVM_EXIT_INTERNAL_ERROR: printf(" INTERNAL_ERROR suberror=%u", k->internal.suberror); break;
	case KVM_EXIT_FAIL_ENTRY: printf(" FAIL_ENTRY"); break;
	default: printf(" exit%u", k->exit_reason);
	}
}

// KVM_RUN that only completes the last exit.
static void finish_step(struct vcpu *v)
{
	if (!v->run) { result(ioctl(v->fd, KVM_RUN, 0)); return; }
	v->run->immediate_exit = 1;
	result(ioctl(v->fd, KVM_RUN, 0));
	v->run->immediate_exit = 0;
}

static void events_step(struct vcpu *v)
{
	struct kvm_vcpu_events e;
	int r = ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e);
	result(r);
	bool exception = e.exception.injected || e.exception.pending;
	if (!r) printf(" exception=%u/%u interrupt=%u/%u shadow=%u nmi=%u/%u/%u", exception, exception ? e.exception.nr : 0,
		       e.interrupt.injected, e.interrupt.injected ? e.interrupt.nr : 0, e.interrupt.shadow, e.nmi.injected,
		       e.nmi.pending, e.nmi.masked);
}

static void lapic_step(struct vcpu *v, const char *offset, const char *value)
{
	struct kvm_lapic_state l;
	uint32_t *reg = (uint32_t *)(l.regs + (strtoul(offset, 0, 0) & 0x3fc));
	int r = ioctl(v->fd, KVM_GET_LAPIC, &l);
	if (!r && value) {
		*reg = strtoul(value, 0, 0);
		r = ioctl(v->fd, KVM_SET_LAPIC, &l);
	}
	result(r);
	if (!r && !value) printf(" %x", *reg);
}

// Is there a complete pvclock at GPA? Its contents depend on time and machine.
static void pvclock_step(uint64_t gpa)
{
	uint32_t *p = (uint32_t *)hva_of(gpa);
	if (!p) { errno = EFAULT; result(-1); return; }
	printf(" = %s %s", p[0] & 1 ? "odd" : "even", p[0] && p[6] ? "written" : "empty");
}

// What `migrate` reads of a vCPU. Attributes in the order in which they are set.
static const int hvm_saved[] = {0, 1, 6, 2, 4, 5}, vcpu_saved[] = {0, 9, 1, 2, 4, 6, 7, 8};
#define MAX_CPUID 64
struct saved {
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	bool has_regs, has_lapic, has_mp, has_events;
	struct attr attr[8];
	struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entry[MAX_CPUID]; } cpuid;
};

// Reads attribute TYPE; the type becomes 0xffff when there is nothing to set.
static void save_attr(int fd, bool is_vcpu, int type, struct attr *a)
{
	uint64_t v;
	memset(a, 0, sizeof *a);
	a->type = type;
	bool none = ioctl(fd, is_vcpu ? X_VCPU_GET : X_HVM_GET, a) < 0;
	memcpy(&v, a->u, 8);
	if ((is_vcpu ? type == 9 : type == 6) && !v) none = true; // set by GPA, or not at all
	if ((is_vcpu ? type == 0 : type == 1) && v == ~0ULL) none = true;
	if (none) a->type = 0xffff;
}

static int load_attr(int fd, bool is_vcpu, struct attr *a)
{
	return a->type != 0xffff && ioctl(fd, is_vcpu ? X_VCPU_SET : X_HVM_SET, a) < 0;
}

static void save_vcpu(int fd, struct saved *s)
{
	s->has_regs = !ioctl(fd, KVM_GET_SREGS, &s->sregs) && !ioctl(fd, KVM_GET_REGS, &s->regs);
	s->has_lapic = !ioctl(fd, KVM_GET_LAPIC, &s->lapic);
	s->cpuid.head.nent = MAX_CPUID;
	if (ioctl(fd, KVM_GET_CPUID2, &s->cpuid)) s->cpuid.head.nent = 0;
	s->has_mp = !ioctl(fd, KVM_GET_MP_STATE, &s->mp);
	s->has_events = !ioctl(fd, KVM_GET_VCPU_EVENTS, &s->events);
	for (unsigned i = 0; i < 8; i++) save_attr(fd, true, vcpu_saved[i], &s->attr[i]);
}

// Returns how many sets were refused.
static int load_vcpu(int fd, struct saved *s)
{
	int refused = s->cpuid.head.nent && ioctl(fd, KVM_SET_CPUID2, &s->cpuid) < 0; // first: EFER needs it
	if (s->has_regs) refused += (ioctl(fd, KVM_SET_SREGS, &s->sregs) < 0) + (ioctl(fd, KVM_SET_REGS, &s->regs) < 0);
	if (s->has_lapic) refused += ioctl(fd, KVM_SET_LAPIC, &s->lapic) < 0;
	if (s->has_mp) refused += ioctl(fd, KVM_SET_MP_STATE, &s->mp) < 0;
	if (s->has_events) refused += ioctl(fd, KVM_SET_VCPU_EVENTS, &s->events) < 0;
	for (unsigned i = 0; i < 8; i++) refused += load_attr(fd, true, &s->attr[i]);
	return refused;
}

// A new VM takes the place of the old one, with the same memory and the state that can be read.
static void migrate_step(void)
{
	static struct saved saved[MAX_VCPUS];
	struct attr hvm[6];
	struct kvm_clock_data c;
	int refused = 0, r = ioctl(vm_fd, KVM_GET_CLOCK, &c);
	if (r) { result(r); return; }
	for (unsigned i = 0; i < 6; i++) save_attr(vm_fd, false, hvm_saved[i], &hvm[i]);
	for (unsigned i = 0; i < created_count; i++) save_vcpu(vcpus[created[i] % MAX_VCPUS].fd, &saved[i]);
	for (unsigned i = 0; i < created_count; i++) {
		struct vcpu *v = &vcpus[created[i] % MAX_VCPUS];
		munmap(v->run, run_size); // a mapping keeps the vCPU, and it the VM
		close(v->fd);
	}
	close(vm_fd);

	vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
	if (chip == 'k') refused += ioctl(vm_fd, KVM_CREATE_IRQCHIP, 0) < 0;
	if (chip == 's') refused += ioctl(vm_fd, KVM_ENABLE_CAP, &split) < 0;
	for (unsigned i = 0; i < MAX_SLOTS; i++) {
		struct kvm_userspace_memory_region m = {.slot = i, .flags = slots[i].flags, .guest_phys_addr = slots[i].gpa,
			.memory_size = slots[i].size, .userspace_addr = (uint64_t)slots[i].hva};
		if (slots[i].used) refused += ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &m) < 0;
	}
	refused += ioctl(vm_fd, X_HVM_CONFIG, &last_config) < 0;
	c.flags = 0;
	refused += ioctl(vm_fd, KVM_SET_CLOCK, &c) < 0;
	for (unsigned i = 0; i < created_count; i++) {
		struct vcpu *v = &vcpus[created[i] % MAX_VCPUS];
		v->fd = ioctl(vm_fd, KVM_CREATE_VCPU, created[i]);
		v->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	}
	for (unsigned i = 0; i < 6; i++) refused += load_attr(vm_fd, false, &hvm[i]);
	for (unsigned i = 0; i < created_count; i++) refused += load_vcpu(vcpus[created[i] % MAX_VCPUS].fd, &saved[i]);
	result(refused);
}

static struct vcpu *vcpu_named(const char *s)
{
	return s && s[0] == 'v' ? &vcpus[strtoul(s + 1, NULL, 0) % MAX_VCPUS] : NULL;
}

static void step(char *line)
{
	char *arg[40] = {0}, copy[1 << 16];
	int n = 0;
	snprintf(copy, sizeof copy, "%s", line);
	for (char *save, *t = strtok_r(line, " ", &save); t && n < 40; t = strtok_r(NULL, " ", &save)) arg[n++] = t;
	if (!n) return;
	printf("%s", copy);
	struct vcpu *v = vcpu_named(arg[0]);

	if (!strcmp(arg[0], "cap")) result(ioctl(vm_fd >= 0 ? vm_fd : kvm_fd, KVM_CHECK_EXTENSION, strtoul(arg[1], NULL, 0)));
	else if (!strcmp(arg[0], "vm")) { vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0); result(vm_fd < 0 ? -1 : 0); chip = 0; created_count = 0; }
	else if (!strcmp(arg[0], "irqchip")) { int r = ioctl(vm_fd, KVM_CREATE_IRQCHIP, 0); result(r); if (!r) chip = 'k'; }
	else if (!strcmp(arg[0], "splitirqchip")) {
		struct kvm_enable_cap c = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
		int r = ioctl(vm_fd, KVM_ENABLE_CAP, &c);
		result(r);
		if (!r) chip = 's';
	} else if (!strcmp(arg[0], "slot"))
		slot_step(strtoul(arg[1], 0, 0), strtoull(arg[2], 0, 0), strtoull(arg[3], 0, 0), arg[4] ? strtoul(arg[4], 0, 0) : 0);
	else if (!strcmp(arg[0], "remap")) { // replace one backing page by a fresh zero page at the same address
		uint8_t *h = hva_of(strtoull(arg[1], 0, 0));
		void *m = mmap((void *)((uint64_t)h & ~(PAGE - 1)), PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		result(m == MAP_FAILED ? -1 : 0);
	} else if (!strcmp(arg[0], "poke")) {
		uint8_t *h = hva_of(strtoull(arg[1], 0, 0));
		if (!h) { errno = EFAULT; result(-1); } else { unhex(arg[2], h, 1 << 15); result(0); }
	} else if (!strcmp(arg[0], "peek")) {
		uint8_t *h = hva_of(strtoull(arg[1], 0, 0));
		if (!h) { errno = EFAULT; result(-1); } else { printf(" = "); hex(h, strtoul(arg[2], 0, 0)); }
	} else if (!strcmp(arg[0], "vcpu")) {
		unsigned id = strtoul(arg[1], 0, 0);
		struct vcpu *nv = &vcpus[id % MAX_VCPUS];
		nv->fd = ioctl(vm_fd, KVM_CREATE_VCPU, id);
		result(nv->fd < 0 ? -1 : 0);
		if (nv->fd >= 0 && created_count < MAX_VCPUS) created[created_count++] = id;
		if (nv->fd >= 0) nv->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, nv->fd, 0);
	} else if (!strcmp(arg[0], "config")) { // config FLAGS MSR [blob32_gpa blob32_size blob64_gpa blob64_size]
		struct kvm_xen_hvm_config c = {.flags = strtoul(arg[1], 0, 0), .msr = strtoul(arg[2], 0, 0)};
		if (arg[6]) {
			c.blob_addr_32 = (uint64_t)hva_of(strtoull(arg[3], 0, 0)); c.blob_size_32 = strtoul(arg[4], 0, 0);
			c.blob_addr_64 = (uint64_t)hva_of(strtoull(arg[5], 0, 0)); c.blob_size_64 = strtoul(arg[6], 0, 0);
		}
		int r = ioctl(vm_fd, X_HVM_CONFIG, &c);
		result(r);
		if (!r) last_config = c;
	} else if (!strcmp(arg[0], "hvm")) attr_step(vm_fd, !strcmp(arg[1], "set"), false, arg[2], arg[3]);
	else if (!strcmp(arg[0], "evtchn_send")) {
		struct evtchn e = {strtoul(arg[1], 0, 0), strtoul(arg[2], 0, 0), strtoul(arg[3], 0, 0)};
		result(ioctl(vm_fd, X_EVTCHN_SEND, &e));
	} else if (!strcmp(arg[0], "routing")) { // routing gsi:port:vcpu:prio ...
		struct { struct kvm_irq_routing h; struct kvm_irq_routing_entry e[32]; } r = {0};
		for (int i = 1; i < n; i++) {
			struct kvm_irq_routing_entry *e = &r.e[r.h.nr++];
			struct evtchn x;
			e->type = X_ROUTING_XEN_EVTCHN;
			sscanf(arg[i], "%u:%u:%u:%u", &e->gsi, &x.port, &x.vcpu, &x.priority);
			memcpy(&e->u, &x, sizeof x);
		}
		result(ioctl(vm_fd, KVM_SET_GSI_ROUTING, &r));
	} else if (!strcmp(arg[0], "route")) { // route gsi:type:a:b:c ... (1 irqchip:pin, 2 address:0:data, 5 port:vcpu:priority)
		struct { struct kvm_irq_routing h; struct kvm_irq_routing_entry e[40]; } r = {0};
		for (int i = 1; i < n; i++) {
			struct kvm_irq_routing_entry *e = &r.e[r.h.nr++];
			unsigned x[3] = {0};
			sscanf(arg[i], "%u:%u:%u:%u:%u", &e->gsi, &e->type, &x[0], &x[1], &x[2]);
			memcpy(&e->u, x, sizeof x);
		}
		result(ioctl(vm_fd, KVM_SET_GSI_ROUTING, &r));
	} else if (!strcmp(arg[0], "irqline")) { // irqline GSI LEVEL
		struct kvm_irq_level l = {.irq = strtoul(arg[1], 0, 0), .level = strtoul(arg[2], 0, 0)};
		int r = ioctl(vm_fd, KVM_IRQ_LINE_STATUS, &l);
		result(r);
		if (!r) printf(" status=%d", l.status);
	} else if (!strcmp(arg[0], "msi")) { // msi ADDRESS DATA
		struct kvm_msi m = {.address_lo = strtoul(arg[1], 0, 0), .data = strtoul(arg[2], 0, 0)};
		result(ioctl(vm_fd, KVM_SIGNAL_MSI, &m));
	} else if (!strcmp(arg[0], "clock")) { // clock NS
		struct kvm_clock_data c = {.clock = strtoull(arg[1], 0, 0)};
		result(ioctl(vm_fd, KVM_SET_CLOCK, &c));
	} else if (!strcmp(arg[0], "pvclock")) pvclock_step(strtoull(arg[1], 0, 0));
	else if (!strcmp(arg[0], "migrate")) migrate_step();
	else if (!strcmp(arg[0], "eventfd")) { unsigned i = strtoul(arg[1], 0, 0) % 16; eventfds[i] = eventfd(0, EFD_NONBLOCK); result(0); }
	else if (!strcmp(arg[0], "irqfd")) { // irqfd FD GSI [deassign]
		struct kvm_irqfd f = {.fd = eventfds[strtoul(arg[1], 0, 0) % 16], .gsi = strtoul(arg[2], 0, 0), .flags = arg[3] ? KVM_IRQFD_FLAG_DEASSIGN : 0};
		result(ioctl(vm_fd, KVM_IRQFD, &f));
	} else if (!strcmp(arg[0], "signal")) { uint64_t one = 1; result(write(eventfds[strtoul(arg[1], 0, 0) % 16], &one, 8) == 8 ? 0 : -1); usleep(100000); } // irqfds act later
	else if (!strcmp(arg[0], "drain")) { uint64_t c = 0; long r = read(eventfds[strtoul(arg[1], 0, 0) % 16], &c, 8); result(r == 8 ? (long)c : -1); }
	else if (!strcmp(arg[0], "evtchn_fd")) { // EVTCHN attr with an eventfd target: evtchn_fd SENDPORT TYPE FLAGS FD
		struct attr a = {.type = 3};
		uint32_t f[5] = {strtoul(arg[1], 0, 0), strtoul(arg[2], 0, 0), strtoul(arg[3], 0, 0), 0, eventfds[strtoul(arg[4], 0, 0) % 16]};
		memcpy(a.u, f, sizeof f);
		result(ioctl(vm_fd, X_HVM_SET, &a));
	} else if (!strcmp(arg[0], "dirty")) {
		unsigned id = strtoul(arg[1], 0, 0);
		uint8_t bitmap[1 << 16] = {0};
		struct kvm_dirty_log d = {.slot = id, .dirty_bitmap = bitmap};
		int r = ioctl(vm_fd, KVM_GET_DIRTY_LOG, &d);
		result(r);
		if (!r) for (uint64_t i = 0; i < slots[id].size / PAGE && i < sizeof bitmap * 8; i++)
			if (bitmap[i / 8] >> (i % 8) & 1) printf(" 0x%lx", slots[id].gpa + i * PAGE);
	} else if (!strcmp(arg[0], "sleep")) { usleep(1000 * strtoul(arg[1], 0, 0)); result(0); }
	else if (v && n > 1) {
		const char *op = arg[1];
		if (!strcmp(op, "set") || !strcmp(op, "get")) attr_step(v->fd, op[0] == 's', true, arg[2], arg[3]);
		else if (!strcmp(op, "runstate")) runstate_step(v->fd);
		else if (!strcmp(op, "mode64")) mode_step(v, 64, arg[2] ? 3 : 0);
		else if (!strcmp(op, "mode32")) mode_step(v, 32, 0);
		else if (!strcmp(op, "compat")) mode_step(v, COMPAT, 0);
		else if (!strcmp(op, "mode16")) mode16_step(v);
		else if (!strcmp(op, "finish")) finish_step(v);
		else if (!strcmp(op, "events")) events_step(v);
		else if (!strcmp(op, "lapic")) lapic_step(v, arg[2], arg[3]);
		else if (!strcmp(op, "nmi")) result(ioctl(v->fd, KVM_NMI, 0));
		else if (!strcmp(op, "interrupt")) {
			struct kvm_interrupt i = {.irq = strtoul(arg[2], 0, 0)};
			result(ioctl(v->fd, KVM_INTERRUPT, &i));
		} else if (!strcmp(op, "regs")) regs_step(v, strstr(copy, "regs") + 4);
		else if (!strcmp(op, "idt")) { // idt BASE LIMIT
			struct kvm_sregs s;
			int r = ioctl(v->fd, KVM_GET_SREGS, &s);
			s.idt.base = strtoull(arg[2], 0, 0); s.idt.limit = strtoul(arg[3], 0, 0);
			r |= ioctl(v->fd, KVM_SET_SREGS, &s);
			result(r);
		} else if (!strcmp(op, "run")) run_step(v, arg[2] ? strtoul(arg[2], 0, 0) : 1000);
		else if (!strcmp(op, "result")) { *(uint64_t *)((uint8_t *)&v->run->io + 24) = strtoull(arg[2], 0, 0); result(0); }
		else if (!strcmp(op, "msr")) { // msr INDEX [VALUE]
			struct { struct kvm_msrs h; struct kvm_msr_entry e; } m = {{.nmsrs = 1}, {.index = strtoul(arg[2], 0, 0)}};
			if (arg[3]) { m.e.data = strtoull(arg[3], 0, 0); result(ioctl(v->fd, KVM_SET_MSRS, &m)); }
			else { long r = ioctl(v->fd, KVM_GET_MSRS, &m); result(r); if (r == 1) printf(" %llx", m.e.data); }
		} else if (!strcmp(op, "cpuid")) { // cpuid LEAF:SUB:EAX:EBX:ECX:EDX ... replaces the whole table
			struct { struct kvm_cpuid2 h; struct kvm_cpuid_entry2 e[32]; } c = {0};
			for (int i = 2; i < n; i++) {
				struct kvm_cpuid_entry2 *e = &c.e[c.h.nent++];
				sscanf(arg[i], "%x:%x:%x:%x:%x:%x", &e->function, &e->index, &e->eax, &e->ebx, &e->ecx, &e->edx);
				e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
			}
			result(ioctl(v->fd, KVM_SET_CPUID2, &c));
		} else if (!strcmp(op, "mpstate")) {
			struct kvm_mp_state m = {.mp_state = arg[2] ? strtoul(arg[2], 0, 0) : 0};
			long r = ioctl(v->fd, arg[2] ? KVM_SET_MP_STATE : KVM_GET_MP_STATE, &m);
			result(r);
			if (!arg[2] && !r) printf(" %u", m.mp_state);
		} else printf(" = ?");
	} else printf(" = ?");
	putchar('\n');
}

static void play(const char *path)
{
	static char line[1 << 16];
	FILE *f = fopen(path, "r");
	if (!f) { perror(path); exit(2); }
	kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd < 0) { perror("/dev/kvm"); exit(2); }
	run_size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	for (unsigned i = 0; i < 16; i++) eventfds[i] = -1;
	struct sigaction sa = {.sa_handler = on_alarm};
	sigaction(SIGALRM, &sa, NULL);
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "#\n")] = 0;
		for (int i = strlen(line); i > 0 && line[i - 1] == ' '; i--) line[i - 1] = 0;
		if (line[0]) step(line);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *base = strrchr(argv[i], '/');
		printf("== %s\n", base ? base + 1 : argv[i]);
		fflush(stdout);
		pid_t pid = fork();
		if (!pid) { play(argv[i]); _exit(0); }
		int st;
		waitpid(pid, &st, 0);
		if (st) printf("!! status 0x%x\n", st);
	}
	return 0;
}

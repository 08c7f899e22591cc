/*
 * The agent of Machine.exec(): runs programs in the guest for whoever is at the other end of a PV console of its own.
 * The protocol is in docs/guest-agent.md. No C library: it is one static file of some kilobytes that runs in any
 * Linux guest.
 *
 *   kvm-xen-agent [TTY]
 *
 * Without TTY it looks in xenstore for the console whose channel is org.kvm-xen.agent; where there is none it ends
 * at once with status 0.
 */
#include <asm/errno.h>
#include <asm/fcntl.h>
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <asm/termbits.h>
#include <linux/signalfd.h>
#include <stddef.h>
#include <stdint.h>
#include "system.h"

enum { FROM_HOST_RESET, FROM_HOST_START, FROM_HOST_STDIN, FROM_HOST_KILL };
enum { TO_HOST_READY = 0x80, TO_HOST_STDOUT, TO_HOST_STDERR, TO_HOST_EXIT, TO_HOST_FAILED, TO_HOST_TAKEN };

#define VERSION 1
#define READY_MAGIC 0x6e78766b /* "kvxn" */
/* @nolimit the host is told these numbers and keeps to them */
#define MAX_COMMANDS 16
#define WINDOW 16384
#define MAX_START 32768
#define MAX_WORDS 1024
#define MAX_ENVIRONMENT 1024
#define CHUNK 4096
/* Added to the error of a FAILED frame that is about the folder, not the program. */
#define IN_FOLDER 0x10000
/* Linux has hvc0 to hvc7. */
#define LAST_CONSOLE 7
#define OPEN_TRIES 100

struct header {
	uint32_t type, id, length;
};

/* A program that runs, or whose output is still to be sent. Descriptors are -1 when they are closed. */
struct command {
	int used, exited;
	uint32_t id;
	long pid;
	int in, out, err;
	uint32_t code, signal;
	int in_ends;
	uint32_t in_start, in_count;
	char input[WINDOW];
};

static struct command commands[MAX_COMMANDS];
static char **environment;
static int console = -1;
/* What has come from the host and is not yet a whole frame. */
static char received[sizeof(struct header) + MAX_START];
static uint32_t received_count;

static void close_descriptor(int *fd)
{
	if (*fd >= 0) CALL1(__NR_close, *fd);
	*fd = -1;
}

/* Writes all; the console does not block, so that a host that does not read is waited for here. @returns 0 when it is gone. */
static int write_all(const void *from, size_t count)
{
	const char *at = from;
	while (count > 0) {
		long done = CALL3(__NR_write, console, at, count);
		if (done == -EAGAIN) {
			struct pollfd wait = { console, POLLOUT, 0 };
			CALL3(__NR_poll, &wait, 1, -1);
			if (wait.revents & (POLLHUP | POLLERR)) return 0;
			continue;
		}
		if (done == -EINTR) continue;
		if (done <= 0) return 0;
		at += done;
		count -= done;
	}
	return 1;
}

/* One write for both, so that the console's driver has them in one piece. */
static int send(uint32_t type, uint32_t id, const void *payload, uint32_t length)
{
	static char frame[sizeof(struct header) + CHUNK];
	struct header header = { type, id, length };
	memcpy(frame, &header, sizeof header);
	memcpy(frame + sizeof header, payload, length);
	return write_all(frame, sizeof header + length);
}

static int send_ready(void)
{
	uint32_t facts[] = { VERSION, MAX_COMMANDS, WINDOW, MAX_START };
	return send(TO_HOST_READY, READY_MAGIC, facts, sizeof facts);
}

static int send_number(uint32_t type, uint32_t id, uint32_t number)
{
	return send(type, id, &number, sizeof number);
}

static void forget(struct command *command)
{
	close_descriptor(&command->in);
	close_descriptor(&command->out);
	close_descriptor(&command->err);
	command->used = 0;
}

/* Another host, or the old one that has lost its thread. */
static int reset(void)
{
	for (int i = 0; i < MAX_COMMANDS; i++) {
		if (!commands[i].used) continue;
		if (!commands[i].exited) CALL2(__NR_kill, -commands[i].pid, SIGKILL);
		forget(&commands[i]);
	}
	return send_ready();
}

static struct command *find(uint32_t id)
{
	for (int i = 0; i < MAX_COMMANDS; i++)
		if (commands[i].used && commands[i].id == id) return &commands[i];
	return NULL;
}

/* The value of a variable in an environment. */
static const char *value_of(char *const *variables, const char *name)
{
	size_t count = length_of(name);
	for (; *variables != NULL; variables++)
		if (begins_with(*variables, name, count) && (*variables)[count] == '=') return *variables + count + 1;
	return NULL;
}

/* Becomes the program, found as a shell finds it. @returns the error. */
static long become(char *const *words, char *const *variables)
{
	const char *name = words[0];
	long error = -ENOENT;
	for (const char *c = name; *c != 0; c++)
		if (*c == '/') return CALL3(__NR_execve, name, words, variables);
	const char *path = value_of(variables, "PATH");
	if (path == NULL) path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	size_t name_count = length_of(name);
	if (name_count == 0) return -ENOENT;
	while (1) {
		static char full[CHUNK];
		size_t count = 0;
		while (path[count] != 0 && path[count] != ':') count++;
		if (count + name_count + 2 <= sizeof full) {
			memcpy(full, path, count);
			full[count] = '/';
			memcpy(full + count + 1, name, name_count + 1);
			const char *file = count == 0 ? name : full;
			long result = CALL3(__NR_execve, file, words, variables);
			/* One that may not be executed counts only when there is no other. */
			if (result != -ENOENT && result != -ENOTDIR && error == -ENOENT) error = result;
		}
		if (path[count] == 0) return error;
		path += count + 1;
	}
}

/* Puts the agent's variables behind those that the host has given, unless they are given. */
static int add_environment(char **variables, int count)
{
	for (char **own = environment; *own != NULL; own++) {
		size_t name = 0;
		while ((*own)[name] != 0 && (*own)[name] != '=') name++;
		int given = 0;
		for (int i = 0; i < count; i++)
			if (begins_with(variables[i], *own, name) && variables[i][name] == '=') given = 1;
		if (given) continue;
		if (count >= MAX_ENVIRONMENT) return 0;
		variables[count++] = *own;
	}
	variables[count] = NULL;
	return 1;
}

/* The words and variables of a START frame. @returns 0 when they are not whole. */
static int parse(char *payload, uint32_t length, char **folder, char **words, char **variables)
{
	uint32_t counts[2];
	if (length < sizeof counts) return 0;
	memcpy(counts, payload, sizeof counts);
	if (counts[0] < 1 || counts[0] > MAX_WORDS || counts[1] > MAX_ENVIRONMENT) return 0;
	char *at = payload + sizeof counts, *end = payload + length;
	if (at == end || end[-1] != 0) return 0;
	*folder = at;
	at += length_of(at) + 1;
	for (uint32_t i = 0; i < counts[0] + counts[1]; i++) {
		if (at >= end) return 0;
		if (i < counts[0]) words[i] = at;
		else variables[i - counts[0]] = at;
		at += length_of(at) + 1;
	}
	words[counts[0]] = NULL;
	return at == end && add_environment(variables, counts[1]);
}

static _Noreturn void run_child(const int *ends, int report, const char *folder, char *const *words, char *const *variables)
{
	uint64_t none = 0;
	CALL0(__NR_setsid);
	CALL4(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
	for (int i = 0; i < 3; i++) CALL2(__NR_dup2, ends[i], i);
	long error = folder[0] == 0 ? 0 : CALL1(__NR_chdir, folder);
	int number = (int)-error | IN_FOLDER;
	if (error == 0) number = (int)-become(words, variables);
	CALL3(__NR_write, report, &number, sizeof number);
	CALL1(__NR_exit_group, 127);
	__builtin_unreachable();
}

/* Makes the pipes and the process. @returns 0 or a negative error. */
static long spawn(struct command *command, const char *folder, char *const *words, char *const *variables)
{
	int in[2], out[2], err[2], report[2];
	int *pipes[] = { in, out, err, report };
	for (int i = 0; i < 4; i++) {
		long error = CALL2(__NR_pipe2, pipes[i], O_CLOEXEC);
		if (error == 0) continue;
		while (i-- > 0) {
			close_descriptor(&pipes[i][0]);
			close_descriptor(&pipes[i][1]);
		}
		return error;
	}
	int ends[] = { in[0], out[1], err[1] };
	long pid = CALL0(__NR_fork);
	if (pid == 0) run_child(ends, report[1], folder, words, variables);
	for (int i = 0; i < 3; i++) close_descriptor(&ends[i]);
	close_descriptor(&report[1]);
	int number = 0;
	long error = pid < 0 ? pid : 0;
	/* The pipe ends without a word when the program has begun. */
	if (error == 0 && CALL3(__NR_read, report[0], &number, sizeof number) == sizeof number) error = -number;
	close_descriptor(&report[0]);
	int parents[] = { in[1], out[0], err[0] };
	if (error != 0) {
		if (pid > 0) CALL4(__NR_wait4, pid, 0, 0, 0);
		for (int i = 0; i < 3; i++) close_descriptor(&parents[i]);
		return error;
	}
	for (int i = 0; i < 3; i++) CALL3(__NR_fcntl, parents[i], F_SETFL, O_NONBLOCK);
	command->pid = pid;
	command->in = in[1];
	command->out = out[0];
	command->err = err[0];
	return 0;
}

static int start(uint32_t id, char *payload, uint32_t length)
{
	static char *words[MAX_WORDS + 1], *variables[MAX_ENVIRONMENT + 1];
	struct command *command = NULL;
	char *folder;
	for (int i = 0; i < MAX_COMMANDS && command == NULL; i++)
		if (!commands[i].used) command = &commands[i];
	if (command == NULL || find(id) != NULL) return send_number(TO_HOST_FAILED, id, EAGAIN);
	if (!parse(payload, length, &folder, words, variables)) return send_number(TO_HOST_FAILED, id, E2BIG);
	command->exited = 0;
	command->id = id;
	command->in_ends = 0;
	command->in_start = command->in_count = 0;
	long error = spawn(command, folder, words, variables);
	if (error != 0) return send_number(TO_HOST_FAILED, id, (uint32_t)-error);
	command->used = 1;
	return 1;
}

/* Gives a program as much of its input as it takes. */
static int feed(struct command *command)
{
	while (command->in >= 0 && command->in_count > 0) {
		uint32_t whole = WINDOW - command->in_start;
		uint32_t count = command->in_count < whole ? command->in_count : whole;
		long done = CALL3(__NR_write, command->in, command->input + command->in_start, count);
		if (done == -EAGAIN || done == -EINTR) return 1;
		/* Nobody reads any more: what comes is taken and lost. */
		if (done <= 0) {
			done = command->in_count;
			close_descriptor(&command->in);
		}
		command->in_start = (command->in_start + done) % WINDOW;
		command->in_count -= done;
		if (!send_number(TO_HOST_TAKEN, command->id, (uint32_t)done)) return 0;
	}
	if (command->in_ends) close_descriptor(&command->in);
	return 1;
}

/* @returns 0 when the host does not keep to the protocol, or is gone. */
static int take_input(uint32_t id, const char *payload, uint32_t length)
{
	struct command *command = find(id);
	/* It has ended meanwhile. */
	if (command == NULL) return 1;
	if (length == 0) {
		command->in_ends = 1;
		return feed(command);
	}
	if (command->in < 0) return send_number(TO_HOST_TAKEN, id, length);
	if (command->in_ends || length > WINDOW - command->in_count) return 0;
	for (uint32_t i = 0; i < length; i++)
		command->input[(command->in_start + command->in_count + i) % WINDOW] = payload[i];
	command->in_count += length;
	return feed(command);
}

static int handle(struct header header, char *payload)
{
	switch (header.type) {
	case FROM_HOST_RESET:
		return reset();
	case FROM_HOST_START:
		return start(header.id, payload, header.length);
	case FROM_HOST_STDIN:
		return take_input(header.id, payload, header.length);
	case FROM_HOST_KILL: {
		struct command *command = find(header.id);
		uint32_t number;
		if (header.length != sizeof number) return 0;
		memcpy(&number, payload, sizeof number);
		if (command != NULL && !command->exited) CALL2(__NR_kill, -command->pid, number);
		return 1;
	}
	}
	return 0;
}

/* Reads what the host has sent, and does it. */
static int receive(void)
{
	long count = CALL3(__NR_read, console, received + received_count, sizeof received - received_count);
	if (count == -EAGAIN || count == -EINTR) return 1;
	if (count <= 0) return 0;
	received_count += count;
	uint32_t at = 0;
	struct header header;
	while (received_count - at >= sizeof header) {
		memcpy(&header, received + at, sizeof header);
		if (header.length > MAX_START) return 0;
		if (received_count - at - sizeof header < header.length) break;
		if (!handle(header, received + at + sizeof header)) return 0;
		at += sizeof header + header.length;
	}
	received_count -= at;
	memmove(received, received + at, received_count);
	return 1;
}

/* Passes on what a program has written. @returns 0 when the host is gone. */
static int pass(struct command *command, int *fd, uint32_t type)
{
	static char bytes[CHUNK];
	long count = CALL3(__NR_read, *fd, bytes, sizeof bytes);
	if (count == -EINTR) return 1;
	if (count > 0) return send(type, command->id, bytes, count);
	/* Of a program that has ended, nothing more counts: its children may keep the pipe for ever. */
	if (count != -EAGAIN || command->exited) close_descriptor(fd);
	return 1;
}

static int finish(struct command *command)
{
	uint32_t end[] = { command->code, command->signal };
	uint32_t id = command->id;
	forget(command);
	return send(TO_HOST_EXIT, id, end, sizeof end);
}

/* Notes which programs have ended. */
static void reap(void)
{
	int status;
	for (;;) {
		long pid = CALL4(__NR_wait4, -1, &status, 1 /* WNOHANG */, 0);
		if (pid <= 0) return;
		for (int i = 0; i < MAX_COMMANDS; i++) {
			struct command *command = &commands[i];
			if (!command->used || command->exited || command->pid != pid) continue;
			command->exited = 1;
			command->signal = status & 0x7f;
			command->code = command->signal == 0 ? (status >> 8) & 0xff : 0;
		}
	}
}

/* Serves a host until the console is gone or the host makes no sense. */
static void serve(int signals)
{
	static struct pollfd wanted[2 + 3 * MAX_COMMANDS];
	received_count = 0;
	if (!reset()) return;
	for (;;) {
		int count = 2;
		wanted[0] = (struct pollfd){ console, POLLIN, 0 };
		wanted[1] = (struct pollfd){ signals, POLLIN, 0 };
		for (int i = 0; i < MAX_COMMANDS; i++) {
			struct command *command = &commands[i];
			if (!command->used) continue;
			if (command->in >= 0 && command->in_count > 0)
				wanted[count++] = (struct pollfd){ command->in, POLLOUT, 0 };
			if (command->out >= 0) wanted[count++] = (struct pollfd){ command->out, POLLIN, 0 };
			if (command->err >= 0) wanted[count++] = (struct pollfd){ command->err, POLLIN, 0 };
		}
		CALL3(__NR_poll, wanted, count, -1);
		if (wanted[1].revents != 0) {
			struct signalfd_siginfo info;
			CALL3(__NR_read, signals, &info, sizeof info);
		}
		reap();
		if (wanted[0].revents != 0 && !receive()) return;
		for (int i = 0; i < MAX_COMMANDS; i++) {
			struct command *command = &commands[i];
			if (!command->used) continue;
			if (!feed(command)) return;
			/* Of one that has ended, all that it has written is sent before its status. */
			do {
				if (command->out >= 0 && !pass(command, &command->out, TO_HOST_STDOUT)) return;
				if (command->err >= 0 && !pass(command, &command->err, TO_HOST_STDERR)) return;
			} while (command->exited && (command->out >= 0 || command->err >= 0));
			if (command->exited && !finish(command)) return;
		}
	}
}

/* Reads a node of this domain in xenstore. @returns its length, or -1. */
static long read_node(int bus, const char *path, char *value, uint32_t room)
{
	struct { uint32_t type, request, transaction, length; } message = { 2, 0, 0, length_of(path) + 1 };
	CALL3(__NR_write, bus, &message, sizeof message);
	CALL3(__NR_write, bus, path, message.length);
	char *at = (char *)&message;
	for (uint32_t done = 0; done < sizeof message;) {
		long count = CALL3(__NR_read, bus, at + done, sizeof message - done);
		if (count <= 0) return -1;
		done += count;
	}
	for (uint32_t done = 0; done < message.length;) {
		char rest;
		int fits = done < room;
		long count = CALL3(__NR_read, bus, fits ? value + done : &rest, fits ? room - done : 1);
		if (count <= 0) return -1;
		done += count;
	}
	return message.type == 2 && message.length <= room ? (long)message.length : -1;
}

/* The terminal of the console that is the agent's: "/dev/hvcN". @returns 0 when there is none. */
static int find_console(char *tty)
{
	static const char channel[] = "org.kvm-xen.agent";
	char path[] = "device/console/N/name", value[64];
	long bus = CALL2(__NR_open, "/dev/xen/xenbus", O_RDWR | O_CLOEXEC);
	int found = 0;
	if (bus < 0) return 0;
	for (int number = 1; number <= LAST_CONSOLE && !found; number++) {
		path[15] = '0' + number;
		if (read_node(bus, path, value, sizeof value) != sizeof channel - 1) continue;
		if (!begins_with(value, channel, sizeof channel - 1)) continue;
		memcpy(tty, "/dev/hvcN", 10);
		tty[8] = '0' + number;
		found = 1;
	}
	CALL1(__NR_close, bus);
	return found;
}

/* Opens a terminal so that bytes pass as they are. */
static int open_console(const char *tty)
{
	struct termios modes;
	long fd = CALL2(__NR_open, tty, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) return -1;
	if (CALL3(__NR_ioctl, fd, TCGETS, &modes) == 0) {
		modes.c_iflag = 0;
		modes.c_oflag = 0;
		modes.c_lflag = 0;
		modes.c_cflag = (modes.c_cflag & ~(CSIZE | PARENB)) | CS8 | CREAD | CLOCAL;
		modes.c_cc[VMIN] = 1;
		modes.c_cc[VTIME] = 0;
		CALL3(__NR_ioctl, fd, TCSETS, &modes);
		CALL3(__NR_ioctl, fd, TCFLSH, TCIFLUSH);
	}
	return (int)fd;
}

static int agent(int count, char **words, char **variables)
{
	static char found[16];
	const char *tty = found;
	uint64_t blocked = 1ull << (SIGCHLD - 1) | 1ull << (SIGPIPE - 1) | 1ull << (SIGHUP - 1);
	environment = variables;
	if (count > 1) tty = words[1];
	else if (!find_console(found)) return 0;
	/* Pipes must not get the numbers of the standard streams. */
	while ((unsigned long)CALL2(__NR_open, "/dev/null", O_RDWR | O_CLOEXEC) <= 2)
		continue;
	CALL4(__NR_rt_sigprocmask, SIG_BLOCK, &blocked, 0, sizeof blocked);
	uint64_t children = 1ull << (SIGCHLD - 1);
	long signals = CALL4(__NR_signalfd4, -1, &children, sizeof children, O_CLOEXEC | O_NONBLOCK);
	if (signals < 0) return 1;
	/* The driver may be a moment behind xenstore. */
	for (int tries = 0; tries < OPEN_TRIES; tries++) {
		console = open_console(tty);
		if (console < 0) {
			pause_ms(100);
			continue;
		}
		tries = 0;
		serve((int)signals);
		close_descriptor(&console);
		pause_ms(100);
	}
	return 1;
}

/* Of the first stack frame: the number of words, the words, NULL, the variables, NULL. */
__attribute__((used)) static _Noreturn void begin(long *stack)
{
	int count = (int)stack[0];
	char **words = (char **)(stack + 1);
	long status = agent(count, words, words + count + 1);
	CALL1(__NR_exit_group, status);
	__builtin_unreachable();
}

__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call begin\n");

import { Command, CommanderError, Option } from "commander";
import { HostError, LINUX_RELEASES } from "../base/index.js";
import { cacheRoot } from "../hosts/node/cache.js";
import { ProgressLine } from "../hosts/node/progress-line.js";
import type { ExecOptions, ExecWatch } from "./exec-command.js";
import { describeFailure } from "./exit-status.js";
import type { GuestOptions } from "./guest-command.js";
import type { GuestRequest, RunLimits, Surroundings } from "./guest-run.js";
import type { ImageHost, ImageOptions } from "./image-command.js";
import type { InspectRequest } from "./inspect/inspect-server.js";
import type { PlayHost, PlayOptions } from "./play-command.js";
import type { RunOptions } from "./run-command.js";
import type { StartOptions, StartTerminal } from "./start-command.js";
import type { TraceOptions, TracePlan } from "./trace/trace-option.js";
import { parseCpus, parseMemory, parsePort, parseSeconds } from "./values.js";
import type { RelayCommandOptions } from "./web/relay-command.js";
import type { WebOptions } from "./web/web-command.js";

// What a command does is loaded when it is the one: all of them together take longer than some do.

/** What the commands run with. */
export interface ProgramHost extends Surroundings, ImageHost, Pick<PlayHost, "loadEngine"> {
  readonly version: string;
  readonly output: Surroundings["output"] & StartTerminal;
  readonly error: Surroundings["error"] & StartTerminal;
}

/** Where QEMU waits for gdb, too. */
const GDB_PORT = 1234;

const RUN_HELP = `
Example:
  $ kvm-xen run --kernel vmlinuz --initrd initrd.img --append "root=/dev/ram0" --memory 512M

The kernel is an ELF image with a Xen PVH note, or a bzImage that holds one. Linux takes the first
module for its initial RAM disk; Xen takes it for the kernel of its own guest, and the second for the
initial RAM disk of that:
  $ kvm-xen run --kernel xen-shim --initrd "vmlinuz console=hvc0" --initrd initrd.img \\
      --append "pv-shim console=xen"
A disk is a file of raw bytes; the guest sees xvda, xvdb and so on:
  $ truncate -s 1G data.img && mke2fs -q -t ext4 data.img
  $ kvm-xen run --kernel vmlinuz --initrd initrd.img --disk data.img --disk old.img,ro
Without --kernel, GRUB boots the first disk, as on a real machine (docs/image.md makes one):
  $ kvm-xen run --disk debian.img --net user --memory 512M
With snapshot the file stays as it is; explained in docs/disks.md.
A network card's other end is this process; here ssh -p 2222 127.0.0.1 reaches the guest (docs/network.md):
  $ kvm-xen run --kernel vmlinuz --initrd initrd.img --net user,hostfwd=tcp:127.0.0.1:2222-:22
The guest's console is standard input and output; on a terminal, Ctrl-] then q leaves, and ? tells what
else there is. With --exec the streams are the command's, and the console is not seen:
  $ kvm-xen run --kernel vmlinuz --initrd initrd.img --disk data.img --exec "md5sum /dev/xvda"
Exit status: that of --exec's command; else 0 after power-off, 1 if the guest crashed or the options make no sense, 2 if a file
cannot be used, 124 after the timeout.`;

const START_HELP = `
Example:
  $ kvm-xen start --cpus 2 --disk data.img --net user
  $ echo hello | kvm-xen start --exec "tr a-z A-Z"

The kernel and busybox come from Debian's packages through apt-get, without root, and are kept in
$XDG_CACHE_HOME/kvm-xen or ~/.cache/kvm-xen. Without apt-get a small embedded guest is booted.`;

const GUEST_HELP = `
Example (QEMU 10):
  $ kvm-xen exec -- qemu-system-x86_64 -accel kvm,xen-version=0x40011,kernel-irqchip=split \\
      -nographic -nic none $(kvm-xen guest) -append console=ttyS0

It prints "-kernel FILE -initrd FILE", options of QEMU. The files are the guest of 'kvm-xen start', in
the cache folder, with modules for PV disks and PV network cards. Explained in docs/exec.md.`;

const WEB_HELP = `
Example:
  $ kvm-xen web --open

The address of the page is printed. The machine runs in the browser; the page has the embedded guest, the Debian
guest of 'kvm-xen start' if that was fetched before, and takes your own kernel (docs/browser.md).`;

const RELAY_HELP = `
Example:
  $ kvm-xen relay --open

Two addresses are printed: that of a page whose machines have a network, and that of the network alone, for the field
"network" of pages that are served by others, whose origin --allow-origin has to name. The guests reach what this
computer reaches, but not this computer itself. It needs libslirp (docs/browser.md).`;

const IMAGE_HELP = `
Example:
  $ kvm-xen image -o debian.img
  $ kvm-xen run --disk debian.img --net user --memory 512M

On a terminal it shows what is under way; it takes a minute or two. The packages come from the archive that
this machine's apt is configured with. Root needs no password at the console; through ssh it logs in by the
key that --ssh-key FILE names, such as ~/.ssh/id_ed25519.pub. Needs mmdebstrap, sfdisk and mke2fs, but not to
be root. Explained in docs/image.md.`;

const PLAY_HELP = `
Example:
  $ kvm-xen play tests/vectors/topics/poll.scn

A scenario is a text file with one step a line (tests/oracle/README.md lists them). For each file
its name is printed, then every step and what KVM answered, as tests/oracle/probe.c prints it on
Linux. Time is virtual, so playing a file again prints the same.
Exit status: 0 when all were played, 1 if the options make no sense, 2 if a file cannot be read.`;

const EXEC_HELP = `
Example:
  $ kvm-xen exec --trace=calls.txt -- ./my-vmm --kernel bzImage
  $ kvm-xen exec --inspect -- ./my-vmm --kernel bzImage     # serves a page that shows its VMs

The program has to be dynamically linked and made for Linux on x86-64; it needs no /dev/kvm and no
privileges. Its exit status is that of this command; 128 and the signal's number after a signal; 127
when there is no such program, 126 when it cannot be started. Explained in docs/exec.md.`;

const TRACE_HELP = `
Example:
  $ kvm-xen trace --filter 'sched_op,send,deliver' run --kernel vmlinuz --initrd initrd.img
  $ kvm-xen trace -o boot.json start     # then open boot.json in https://ui.perfetto.dev
  $ kvm-xen trace --summary exec -- qemu-system-x86_64 -accel kvm,xen-version=0x40011 ...

Exits and wake-ups are shown only when they are asked for: --filter '*'. Explained in docs/trace.md.`;

/**
 * Runs the command line `args` (without the program's name) and returns the exit status. Everything
 * that is refused is one line on the standard error output.
 */
export async function runProgram(args: readonly string[], host: ProgramHost): Promise<number> {
  let status = 0;
  const run: RunAction = async (prepare, options, trace) => {
    const limits: RunLimits = {
      ...(options.timeout === undefined ? {} : { timeoutSeconds: options.timeout }),
      verbose: options.verbose ?? false,
      ...(options.control === undefined ? {} : { control: options.control }),
      ...(options.gdb === undefined ? {} : { gdb: options.gdb === true ? GDB_PORT : options.gdb }),
      ...(options.inspect === undefined ? {} : { inspect: inspectRequest(options, trace) }),
      ...savingOf(options),
      ...(trace === undefined ? {} : { trace }),
    };
    const { exec } = options;
    if (exec === undefined) {
      const { runGuest } = await import("./guest-run.js");
      status = await runGuest(prepare(), limits, host);
    } else {
      if (limits.save !== undefined)
        throw new HostError(
          "USAGE",
          "--save and --exec: a machine with a command under way is not saved",
        );
      const wanted = prepare().then((made) => ({
        ...made,
        config: { ...made.config, exec: true },
      }));
      const { runCommand } = await import("./exec-run.js");
      status = await runCommand(wanted, exec, limits, host);
    }
  };
  const program = makeProgram(host, run);
  addPlay(program).action(async (files: string[], options: PlayOptions) => {
    const { playFiles } = await import("./play-command.js");
    status = await playFiles(files, options, host);
  });
  addGuest(program).action(async (options: GuestOptions) => {
    const { guestFiles } = await import("./guest-command.js");
    host.output.write(Buffer.from(`${await guestFiles(options, host.error)}\n`));
  });
  addImage(program).action(async (options: ImageOptions) => {
    const { imageCommand } = await import("./image-command.js");
    status = await imageCommand(options, host);
  });
  addExec(program).action(async (words: string[], options: ExecOptions) => {
    const { execCommand } = await import("./exec-command.js");
    status = await execCommand(words, options, host, watchOf(options, undefined));
  });
  const trace = addTrace(program);
  const plan = async () => {
    const { planTrace } = await import("./trace/trace-option.js");
    return planTrace(trace.opts<TraceOptions>());
  };
  addGuests(trace, host, async (prepare, options) => run(prepare, options, await plan()));
  addExec(trace).action(async (words: string[], options: ExecOptions) => {
    const { execCommand } = await import("./exec-command.js");
    status = await execCommand(words, options, host, watchOf(options, await plan()));
  });
  addWeb(program).action(async (options: WebOptions) => {
    const { serveWeb } = await import("./web/web-command.js");
    status = await serveWeb(options, host);
  });
  addRelay(program).action(async (options: RelayCommandOptions) => {
    const { serveRelay } = await import("./web/relay-command.js");
    status = await serveRelay(options, host);
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    const failure = describeFailure(error);
    host.error.write(`kvm-xen: ${failure.text}\n`);
    return failure.status;
  }
}

type CommonOptions = Pick<RunOptions & StartOptions, "timeout" | "verbose"> & {
  /** Path of the control socket. */
  readonly control?: string;
  /** A command for the guest's shell. */
  readonly exec?: string;
  /** The port of the inspector, or true for a free one. */
  readonly inspect?: number | true;
  readonly allowOrigin?: readonly string[];
  /** The port for gdb, or true for the usual one. */
  readonly gdb?: number | true;
  readonly save?: string;
  readonly saveAfter?: number;
  readonly exact?: boolean;
};

/** @throws HostError USAGE for a moment without a file, and for an exact one under the real clock. */
function savingOf({
  save,
  saveAfter,
  exact = false,
  clock,
}: CommonOptions & Partial<Pick<RunOptions, "clock">>): Pick<
  RunLimits,
  "save" | "saveAfterSeconds" | "saveExact"
> {
  if (save === undefined) {
    if (saveAfter === undefined && !exact) return {};
    throw new HostError("USAGE", `${exact ? "--exact" : "--save-after"} needs --save FILE`);
  }
  if (exact && clock !== "virtual") throw new HostError("USAGE", "--exact needs --clock virtual");
  return {
    ...{ save, saveExact: exact },
    ...(saveAfter === undefined ? {} : { saveAfterSeconds: saveAfter }),
  };
}

/** Runs what is prepared, and writes what happens when there is a plan for that. */
type RunAction = (
  prepare: () => Promise<GuestRequest>,
  options: CommonOptions,
  trace?: TracePlan,
) => Promise<void>;

/** The commands that boot a guest. */
function addGuests(program: Command, host: ProgramHost, run: RunAction): void {
  const grub = async () => {
    const { obtainGrub } = await import("../hosts/node/grub.js");
    return obtainGrub({ cacheRoot: cacheRoot(), progress: new ProgressLine(host.error) });
  };
  addRun(program).action(async (options: RunOptions, command: Command) => {
    if (options.restore !== undefined) refuseHardware(command);
    const { requestFrom } = await import("./run-command.js");
    return run(() => requestFrom(options, grub), options);
  });
  addStart(program).action(async (options: StartOptions) => {
    const { requestForStart } = await import("./start-command.js");
    return run(() => requestForStart(options, host.output, host.error), options);
  });
}

/** A restored machine is what it was. @throws HostError when the command line says what it should be */
function refuseHardware(command: Command): void {
  const named = ["memory", "cpus", "console"].filter(
    (name) => command.getOptionValueSource(name) === "cli",
  );
  if (named.length === 0) return;
  const options = named.map((name) => `--${name}`).join(" and ");
  throw new HostError("USAGE", `--restore takes ${options} from the file: give no others`);
}

function addTrace(program: Command): Command {
  return addCommand(program, "trace")
    .description("run, start or exec, and write down what happens at Xen's interface")
    .option(
      "-o, --output <file>",
      "where to; .jsonl: lines of JSON, .json: for Perfetto (default: text on the standard error output)",
    )
    .addOption(
      new Option("--format <format>", "whatever the file's name").choices([
        "text",
        "json",
        "perfetto",
      ]),
    )
    .option("--filter <words>", "kinds of events, hypercalls, port=N, vcpu=N; '!' for all others")
    .option("--summary", "at the end count events; without --output, print nothing else")
    .enablePositionalOptions()
    .helpCommand(false)
    .addHelpText("after", TRACE_HELP);
}

/** What `--inspect` and `--allow-origin` say. */
function inspectRequest(
  { inspect, allowOrigin = [] }: Pick<CommonOptions, "inspect" | "allowOrigin">,
  trace: TracePlan | undefined,
): InspectRequest {
  if (trace !== undefined) {
    throw new HostError(
      "USAGE",
      "trace and --inspect exclude each other: the page has the events, too",
    );
  }
  return {
    port: inspect === true || inspect === undefined ? 0 : inspect,
    allowOrigins: allowOrigin,
  };
}

/** Who looks at the VMs of `exec`. */
const watchOf = (options: ExecOptions, events: TracePlan | undefined): ExecWatch => ({
  ...(events === undefined ? {} : { events }),
  ...(options.inspect === undefined ? {} : { inspect: inspectRequest(options, events) }),
});

/** `--inspect`, and who else may connect. */
const inspectOptions = (): Option[] => [
  new Option(
    "--inspect [port]",
    "serve an inspector on the loopback interface, by default on a free port; docs/inspector.md",
  ).argParser(parsePort),
  originOption("a page that may attach beside that"),
];

function makeProgram(host: ProgramHost, run: RunAction) {
  const program = new Command("kvm-xen")
    .description("Boots Xen guests in plain Node: Linux KVM's Xen support on an x86-64 engine.")
    .version(host.version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .helpCommand(false)
    .addHelpText("after", "\nEach explains itself with an example: kvm-xen run --help.")
    .showSuggestionAfterError(false)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => host.output.write(Buffer.from(text)),
      writeErr: (text) => host.error.write(text),
      outputError: errorLine("kvm-xen"),
    });
  addGuests(program, host, run);
  return program;
}

/** How commander's errors are printed: in one line that names the help of the command. */
const errorLine = (command: string) => (text: string, write: (line: string) => void) =>
  write(`kvm-xen: ${oneLine(text)}; see ${command} --help\n`);

/** A command whose errors point to its own help. */
const addCommand = (program: Command, name: string): Command =>
  program.command(name).configureOutput({ outputError: errorLine(`kvm-xen ${name}`) });

function addRun(program: Command): Command {
  const command = addCommand(program, "run")
    .description("boot a kernel")
    .option(
      "--kernel <file>",
      "the kernel: ELF with a Xen PVH note, or a bzImage (default: GRUB, which boots the first disk)",
    )
    .option("--direct", "boot the first disk's /vmlinuz with /initrd.img, without GRUB: faster")
    .option(
      "--restore <file>",
      "go on from a snapshot; the disks are given again (docs/snapshots.md)",
    )
    .addOption(
      new Option(
        "--initrd <file>",
        "the initial RAM disk; again for more modules, each FILE or 'FILE COMMAND LINE'",
      )
        .argParser((text: string, before: readonly string[]) => [...before, text])
        .default([], "none"),
    )
    .addOption(diskOption())
    .addOption(netOption())
    .addOption(portOption())
    .option("--append <text>", "the kernel's command line; console= is added if it has none", "")
    .addOption(
      new Option("--console <device>", "the guest's console")
        .choices(["hvc0", "ttyS0", "none"])
        .default("hvc0"),
    )
    .addOption(
      new Option("--clock <clock>", "virtual: time is executed instructions, runs repeat exactly")
        .choices(["real", "virtual"])
        .default("real"),
    )
    .addOption(decodeOption())
    .addHelpText("after", RUN_HELP);
  return addCommon(command);
}

function addStart(program: Command): Command {
  const command = addCommand(program, "start")
    .description("boot Debian's newest cloud kernel to a shell, fetching it first")
    .addOption(diskOption())
    .addOption(netOption())
    .addOption(portOption())
    .option("--embedded", "boot the small guest that comes with this program")
    .option("--update", "fetch the newest kernel even if there is one already")
    .option("--cold", "boot, even though a guest at its prompt was kept from the last time")
    .addHelpText("after", START_HELP);
  return addCommon(command);
}

function addGuest(program: Command): Command {
  return addCommand(program, "guest")
    .description("fetch the guest of start for other monitors, and print where its files are")
    .option("--update", "fetch the newest kernel even if there is one already")
    .allowExcessArguments(false)
    .addHelpText("after", GUEST_HELP);
}

function addWeb(program: Command): Command {
  return addCommand(program, "web")
    .description("serve a page with a machine in it, to browsers of this computer")
    .addOption(listenOption())
    .option("--open", "open the page in the browser")
    .allowExcessArguments(false)
    .addHelpText("after", WEB_HELP);
}

function addRelay(program: Command): Command {
  return addCommand(program, "relay")
    .description("serve that page with a network for its machines")
    .addOption(listenOption())
    .addOption(originOption("a page elsewhere that may use the network"))
    .option("--open", "open the page in the browser")
    .allowExcessArguments(false)
    .addHelpText("after", RELAY_HELP);
}

const listenOption = (): Option =>
  new Option("--port <n>", "the port to listen on; 0 takes a free one")
    .argParser(parsePort)
    .default(0);

const originOption = (what: string): Option =>
  new Option("--allow-origin <origin>", `${what}; again for more`)
    .argParser((text: string, before: readonly string[]) => [...before, text])
    .default([], "none");

function addImage(program: Command): Command {
  return addCommand(program, "image")
    .description("make a bootable disk image of Debian")
    .option("--suite <codename>", "the release, such as bookworm (default: this machine's)")
    .addOption(
      new Option("--include <packages>", "more packages, with commas between; may be given again")
        .argParser((text: string, before: readonly string[]) => [...before, text])
        .default([], "none"),
    )
    .addOption(
      new Option("--size <amount>", "the disk's size, with its unit; the file has holes")
        .argParser(parseMemory)
        .default(parseMemory("4G"), "4G"),
    )
    .option("--ssh-key <file>", "a public key by which root may log in; installs openssh-server")
    .requiredOption("-o, --output <file>", "the image")
    .allowExcessArguments(false)
    .addHelpText("after", IMAGE_HELP);
}

function addPlay(program: Command): Command {
  return addCommand(program, "play")
    .description("play scenario files and print what KVM answers")
    .argument("<file...>", "the scenarios")
    .addOption(decodeOption())
    .addOption(linuxOption())
    .addHelpText("after", PLAY_HELP);
}

function addExec(program: Command): Command {
  const command = addCommand(program, "exec")
    .description("run a KVM program with this library in place of /dev/kvm")
    .argument("<program...>", "the program and its arguments, after --")
    .option(
      "--trace [file]",
      "print each call, as strace would; to a file (JSON when it ends in .jsonl)",
    )
    .option(
      "--trace-filter <names>",
      "only these ioctls: KVM_RUN,KVM_XEN_*; or all but: '!KVM_RUN'",
    )
    .option("--stats", "print a table of all calls at the end")
    .option(
      "--mailbox",
      "answer through shared memory, as it does where there are several processors",
    )
    .option("--no-mailbox", "answer through sockets: slower, and exchanged by system calls only")
    .addOption(linuxOption())
    .passThroughOptions()
    .addHelpText("after", EXEC_HELP);
  for (const option of inspectOptions()) command.addOption(option);
  return command;
}

function diskOption(): Option {
  return new Option(
    "--disk <file>",
    "a disk, FILE[,ro][,snapshot][,dev=xvdb]: raw bytes, a folder, an NBD address (docs/disks.md); again for more",
  )
    .argParser((text: string, before: readonly string[]) => [...before, text])
    .default([], "none");
}

function portOption(): Option {
  return new Option(
    "--port <hvcN>",
    "a further console: hvc1=FILE takes what the guest writes, hvc1=unix:PATH is a socket; again for more",
  )
    .argParser((text: string, before: readonly string[]) => [...before, text])
    .default([], "none");
}

function netOption(): Option {
  return new Option(
    "--net <kind>",
    "a network card: user[,hostfwd=tcp:127.0.0.1:2222-:22][,hostloopback=on], passt, tap=NAME, socket=PATH or sim; again for more",
  )
    .argParser((text: string, before: readonly string[]) => [...before, text])
    .default([], "none");
}

function decodeOption(): Option {
  return new Option(
    "--decode <path>",
    "cached: interpret decoded code, never compile it; each: decode every instruction each time. The same, but slower",
  )
    .choices(["compiled", "cached", "each"])
    .default("compiled");
}

function linuxOption(): Option {
  return new Option("--linux <release>", "answer as KVM of that Linux, where releases differ")
    .choices(LINUX_RELEASES)
    .default("6.12");
}

function addCommon(command: Command): Command {
  for (const option of inspectOptions()) command.addOption(option);
  return command
    .addOption(
      new Option("--memory <amount>", "the guest's memory, with its unit")
        .argParser(parseMemory)
        .default(parseMemory("256M"), "256M"),
    )
    .addOption(new Option("--cpus <n>", "its CPUs").argParser(parseCpus).default(1))
    .addOption(
      new Option(
        "--timeout <seconds>",
        "stop after this real time, counted from the start",
      ).argParser(parseSeconds),
    )
    .option("--control <path>", "a Unix socket that takes lines of JSON (docs/control.md)")
    .option("--save <file>", "where Ctrl-] then s saves the machine (docs/snapshots.md)")
    .addOption(
      new Option(
        "--save-after <seconds>",
        "save it after this real time; with --exact, at this time of the virtual clock",
      ).argParser(parseSeconds),
    )
    .option(
      "--exact",
      "save it in the middle of what it does, which goes on exactly (virtual clock)",
    )
    .option(
      "--exec <command>",
      "run it in the guest's shell and end with its exit status (docs/guest-agent.md)",
    )
    .addOption(
      new Option(
        "--gdb [port]",
        `wait for gdb on this port of the loopback interface (default: ${GDB_PORT}); docs/gdb.md`,
      ).argParser(parsePort),
    )
    .option("--stats", "at the end print instructions executed, time and speed")
    .option("--verbose", "print details about the running machine")
    .allowExcessArguments(false);
}

/** Commander's message without its prefix and line breaks, and without a final full stop. */
function oneLine(text: string): string {
  const line = text.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ");
  return line.trim().replace(/\.$/, "");
}

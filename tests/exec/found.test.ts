import { spawnSync } from "node:child_process";
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compile, compileFile, exec, here, main, sockets, start, until } from "./support.js";

/** Where any user can start it. */
const folder = mkdtempSync(join(tmpdir(), "kvm-xen-found-"));
chmodSync(folder, 0o777);
const program = join(folder, "found");
copyFileSync(compile("found"), program);
afterAll(() => rmSync(folder, { recursive: true }));

const isRoot = process.getuid?.() === 0;
const withoutVariables = ["env", "-u", "KVM_XEN_EXEC_SOCKET", "-u", "KVM_XEN_EXEC_SERVER"];
const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

const hasDevice = (): boolean => {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
};

it("KVM has as many processors as exec", async () => {
  const ended = await exec("--", program, "cpus");
  expect(ended.stdout).toBe(`open: 0\napi: 12\ncpus: ${cpus().length}\n`);
});

describe("a program without exec's variables", () => {
  it("finds the server by its ancestors", async () => {
    const ended = await exec("--", ...withoutVariables, program, "run");
    expect(ended).toMatchObject({
      status: 0,
      stdout: "open: 0\napi: 12\nrun: EINTR\n",
      stderr: "",
    });
  });

  it("finds the nearest of two", async () => {
    const inner = [process.execPath, main, "exec", "--stats", "--"];
    const ended = await exec("--", ...inner, ...withoutVariables, program, "run");
    expect(ended.stdout).toBe("open: 0\napi: 12\nrun: EINTR\n");
    expect(ended.stderr).toMatch(/^KVM_RUN +1 +1 /m);
  });

  it.runIf(isRoot)("finds it as another user whose parent has ended", async () => {
    const out = join(folder, "orphan");
    const line = ["setsid", ...withoutVariables, ...asNobody, program, "run"].join(" ");
    // The shell ends first; exec goes on until the other program has ended too.
    const script = `(sleep 0.3; exec ${line}) > ${out} 2>&1 & echo $! > ${out}.pid`;
    const running = start(
      "--stats",
      "--",
      "sh",
      "-c",
      `${script}; while ! grep -q run ${out}; do sleep 0.1; done`,
    );
    const ended = await running.ended;
    expect(readFileSync(out, "utf8")).toBe("open: 0\napi: 12\nrun: EINTR\n");
    expect(ended.stderr).toMatch(/^KVM_RUN +1 +1 /m);
  });
});

it.runIf(isRoot)("the server is for exec's descendants, not for other users", async () => {
  const running = start("--", "sleep", "1000");
  const mine = () => sockets().find((name) => name.includes(`-${running.child.pid}-`));
  expect(await until(() => mine() !== undefined)).toBe(true);
  const name = (mine() ?? "").slice(1);
  const hello = (...words: string[]) =>
    spawnSync(words[0] as string, [...words.slice(1), program, "hello", name], {
      encoding: "utf8",
      timeout: 20_000,
    }).stdout;
  expect(hello(...asNobody)).toBe("refused\n");
  expect(hello("env")).toBe("served\n");
  running.child.kill("SIGTERM");
  await running.ended;
});

describe("a program that does not load the library", () => {
  const fixed = join(folder, "static");
  copyFileSync(compileFile(here("programs/found.c"), "found-static", ["-static"]), fixed);
  const sentence = `kvm-xen: ${fixed} is statically linked: it does not get this library's /dev/kvm\n`;

  it("never reaches the host's device", async () => {
    const ended = await exec("--", fixed, "api");
    expect(ended.stdout).toBe(hasDevice() ? "open: EACCES\n" : "open: ENOENT\n");
    expect(ended).toMatchObject({ status: 0, stderr: sentence });
    const started = await exec("--", "sh", "-c", `${fixed} api`);
    expect(started).toMatchObject({ stdout: ended.stdout, stderr: "" });
  });

  it.runIf(isRoot)("neither as a user who may open the device", () => {
    // A device that everybody may open, in the place of the host's.
    const device = join(folder, "device");
    const cover = `touch ${device} && mknod ${device}-null c 1 3 && chmod 666 ${device}-null`;
    const bind = existsSync("/dev/kvm") ? "mount --bind" : "ln -s";
    const command = [...asNobody, process.execPath, main, "exec", "--", "sh", "-c"].join(" ");
    const script = `${cover} && ${bind} ${device}-null /dev/kvm && ${command} '${fixed} api; ${program} run; id -u'`;
    const ended = spawnSync("unshare", ["-m", "sh", "-c", script], {
      encoding: "utf8",
      env: { ...process.env, HOME: folder, TMPDIR: folder },
    });
    expect(ended.stderr).toBe("");
    expect(ended.stdout).toBe("open: EACCES\nopen: 0\napi: 12\nrun: EINTR\n65534\n");
  });

  it.runIf(isRoot)("neither below a root directory that is no mount point", () => {
    const device = join(folder, "below");
    const bind = existsSync("/dev/kvm") ? "mount --bind" : "ln -s";
    // All of this machine in a folder, and nothing of what happens there outside.
    const room = join(folder, "room");
    const script = `mount --make-rshared / && rm -f ${device} && mknod ${device} c 1 3 && chmod 666 ${device} &&
      ${bind} ${device} /dev/kvm && mkdir ${room} && mount -t tmpfs none ${room} && mkdir ${room}/root && cd ${room}/root && touch marker || exit 1
      for one in /*; do
        if [ -L $one ]; then cp -d $one .$one; elif [ -d $one ]; then mkdir .$one && mount --rbind $one .$one; fi
      done
      before=$(grep -c /dev/kvm /proc/self/mountinfo)
      chroot . "$@"
      [ $before = $(grep -c /dev/kvm /proc/self/mountinfo) ] && echo as before`;
    const inside = `cd /tmp; ${process.execPath} ${main} exec -- sh -c '${fixed} api; ${program} run; pwd; ls /marker'`;
    const words = ["-m", "sh", "-c", script, "sh", "sh", "-c", inside];
    const ended = spawnSync("unshare", words, { encoding: "utf8" });
    rmSync(room, { recursive: true, force: true });
    expect(ended.stderr).toBe("");
    expect(ended.stdout).toBe(
      "open: EACCES\nopen: 0\napi: 12\nrun: EINTR\n/tmp\n/marker\nas before\n",
    );
  });

  it.runIf(isRoot)("would reach it where nothing can cover it, which exec says in one line", () => {
    // In a user namespace that allows no other one, without the right to mount.
    const device = join(folder, "uncovered");
    const bind = existsSync("/dev/kvm") ? "mount --bind" : "ln -s";
    const bare = "exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin";
    const script = `rm -f ${device} && mknod ${device} c 1 3 && chmod 666 ${device} && ${bind} ${device} /dev/kvm &&
      exec unshare -U --map-root-user sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && ${bare} "$@"' sh "$@"`;
    const words = [
      process.execPath,
      main,
      "exec",
      "--",
      "sh",
      "-c",
      `${fixed} api; ${program} run`,
    ];
    const ended = spawnSync("unshare", ["-m", "sh", "-c", script, "sh", ...words], {
      encoding: "utf8",
      env: { ...process.env, HOME: folder, TMPDIR: folder },
    });
    expect(ended.stderr).toMatch(
      /^kvm-xen: \/dev\/kvm cannot be covered \(\w+\): programs without this library would reach the real one\n$/,
    );
    // The stand-in is /dev/null, which knows no ioctl of KVM.
    expect(ended.stdout).toBe("open: 0\napi: -1\nopen: 0\napi: 12\nrun: EINTR\n");
  });

  it("is refused as before when it cannot be started", async () => {
    expect(await exec("--", join(folder, "nothing"))).toMatchObject({ status: 127 });
    expect(await exec("--", folder)).toMatchObject({ status: 126 });
  });
});

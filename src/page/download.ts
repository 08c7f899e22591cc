/** Milliseconds for which a file can be fetched by the browser's own download. */
const VALID_MS = 60_000;

/** Lets the person have a file. */
export function download(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), VALID_MS);
}

/** The packages that are installed when mutants are made, as far as they are used: nobody has their types before. */

/** A node of Babel's syntax trees. What a node has depends on its type, which Types tells. */
export interface Node {
  readonly type: string;
  readonly value?: unknown;
  operator?: string;
  readonly computed?: boolean;
  readonly body?: unknown;
  readonly expression?: Node;
  readonly callee?: Node;
  readonly name?: unknown;
  readonly property?: Node;
}

/** A place in a tree. */
export interface NodePath {
  readonly node: Node;
  readonly parent: Node;
  readonly key: string | number | null;
  readonly listKey?: string;
}

type Test = (node: Node | undefined, options?: Partial<Node>) => boolean;

export interface Types {
  cloneNode(node: Node, deep: boolean, withoutLocation: boolean): Node;
  numericLiteral(value: number): Node;
  bigIntLiteral(value: string): Node;
  emptyStatement(): Node;
  readonly isBinaryExpression: Test;
  readonly isAssignmentExpression: Test;
  readonly isTSEnumMember: Test;
  readonly isTSLiteralType: Test;
  readonly isNumericLiteral: Test;
  readonly isBigIntLiteral: Test;
  readonly isExpressionStatement: Test;
  readonly isBlockStatement: Test;
  readonly isCallExpression: Test;
  readonly isNewExpression: Test;
  readonly isMemberExpression: Test;
  readonly isSuper: Test;
  readonly isStringLiteral: Test;
  readonly isTemplateLiteral: Test;
  readonly isConditionalExpression: Test;
}

export interface Babel {
  readonly types: Types;
}

export interface Mutator {
  readonly name: string;
  mutate(path: NodePath): Generator<Node>;
}

/** Says why a node has no mutants. */
export interface Ignorer {
  shouldIgnore(path: NodePath): string | undefined;
}

interface Position {
  readonly line: number;
  readonly column: number;
}

/** Lines and columns are counted from 0. */
export interface Range {
  readonly start: Position;
  readonly end: Position;
}

export interface InstrumentedMutant {
  readonly id: string;
  readonly fileName: string;
  readonly mutatorName: string;
  readonly replacement: string;
  readonly location: Range;
  readonly status?: string;
}

interface SourceFile {
  readonly name: string;
  readonly content: string;
}

interface InstrumenterOptions {
  readonly plugins: null;
  readonly excludedMutations: readonly string[];
  readonly ignorers: readonly Ignorer[];
  readonly noHeader: boolean;
}

interface Instrumenter {
  instrument(
    files: readonly (SourceFile & { readonly mutate: boolean })[],
    options: InstrumenterOptions,
  ): Promise<{ files: SourceFile[]; mutants: InstrumentedMutant[] }>;
}

interface Logger {
  debug(): void;
  info(): void;
  warn(): void;
  isDebugEnabled(): boolean;
}

interface Loaded {
  readonly contents: string;
  readonly loader: "ts";
}

export interface BundlerPlugin {
  readonly name: string;
  setup(build: {
    onResolve(on: { filter: RegExp }, answer: () => { path: string; external: boolean }): void;
    onLoad(on: { filter: RegExp }, answer: (file: { path: string }) => Loaded): void;
  }): void;
}

/** What a bundle is made of: files, and what each of them imports. */
export type Inputs = Record<string, { imports: { path: string; external?: boolean }[] }>;

export interface Bundler {
  build(options: {
    stdin: { contents: string; resolveDir: string; loader: "js" };
    bundle: true;
    format: "esm";
    platform: "node";
    target: string;
    packages: "external";
    absWorkingDir: string;
    metafile: true;
    write: false;
    logLevel: "error";
    plugins: BundlerPlugin[];
  }): Promise<{ outputFiles: { text: string }[]; metafile: { inputs: Inputs } }>;
}

export interface Packages {
  readonly Instrumenter: new (
    logger: Logger,
    parser: unknown,
    print: unknown,
    transform: unknown,
  ) => Instrumenter;
  readonly createParser: () => unknown;
  readonly print: unknown;
  readonly transform: unknown;
  readonly allMutators: Mutator[];
  readonly babel: Babel;
  readonly esbuild: Bundler;
}

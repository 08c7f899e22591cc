/** The support page as Markdown. */
export declare function supportPage(rows: any): string;

/** Style sheets that a module brings with it: vite puts them into the page. */
declare module "*.css";

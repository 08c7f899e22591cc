/** Where the two rings of xenstore's page are, as a guest in a test uses them. */
import { XenstoreInterface as I } from "../../../abi/xen/xs-wire.js";

export const requests = { data: I.req, size: 1024, cons: I.req_cons, prod: I.req_prod };
export const responses = { data: I.rsp, size: 1024, cons: I.rsp_cons, prod: I.rsp_prod };

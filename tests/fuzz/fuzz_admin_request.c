/* SPDX-License-Identifier: BSD-3-Clause
 * Any line as a request to the admin socket. */
#include "store/control/admin_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const keys[] = {"id", "domain", "sender", "limit", "address", "from_id"};
	const char *command;
	char error[128];
	bool ok;

	json_t *r = admin_request_parse((const char *)data, n, &command, error, sizeof(error));
	for (size_t i = 0; r && i < ARRAY_LEN(keys); i++) {
		admin_text(r, keys[i], 16, &ok);
		admin_number(r, keys[i], 0, UINT32_MAX, &ok);
	}
	if (r) {
		struct tcp_request tcp;
		struct trace_request trace;
		struct conn_id id;
		uint32_t core;
		const char *wrong = admin_tcp_request(r, &tcp);
		BUG_ON(!admin_trace_request(r, &trace) &&
			(trace.snap > CAPTURE_SNAP_MAX || !trace.seconds || !trace.packets));
		BUG_ON(!wrong && (tcp.limit == 0 || tcp.sort >= TCP_SORT_N));
		admin_conn_id(admin_text(r, "id", 40, &ok), &core, &id);
	}
	json_decref(r);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * bypostctl: the operators' command line.  A process of its own with one thread; it speaks the
 * admin protocol (store/control/admin.h says it in words) and knows nothing else of the daemon. */
#pragma once
#include <jansson.h>
#include "dataplane/base/bytes.h"

#define CTL_SOCKET_DEFAULT "/run/bypost/admin.sock"
#define CTL_LINE_MAX       (4u << 20) /* octets of an answer line; chosen */

enum ctl_exit { CTL_OK = 0, CTL_ERROR = 1, CTL_USAGE = 2, CTL_NOT_FOUND = 3 };

/* Options after the words of a command. */
enum ctl_option {
	CTL_OPT_DOMAIN = 1 << 0,
	CTL_OPT_SENDER = 1 << 1,
	CTL_OPT_LIMIT = 1 << 2,
	CTL_OPT_FROM = 1 << 3,
	CTL_OPT_ALL = 1 << 4,
	CTL_OPT_YES = 1 << 5,
	CTL_OPT_THREADS = 1 << 6,
	CTL_OPT_STATE = 1 << 7,
	CTL_OPT_PEER = 1 << 8,
	CTL_OPT_PORT = 1 << 9,
	CTL_OPT_SORT = 1 << 10,
	CTL_OPT_CONN = 1 << 12,
	CTL_OPT_PCAP = 1 << 13,
	CTL_OPT_SECONDS = 1 << 14,
	CTL_OPT_PACKETS = 1 << 15,
	CTL_OPT_SNAP = 1 << 16,
	CTL_OPT_ONCE = 1 << 20,
	CTL_OPT_INTERVAL = 1 << 21,
	CTL_OPT_VIEW = 1 << 22,
	CTL_OPT_REPAIR = 1 << 11,
	CTL_OPT_RECIPIENT = 1 << 17,
	CTL_OPT_OLDER = 1 << 18,
	CTL_OPT_MESSAGES = 1 << 19,
};

struct ctl {
	const char *socket;
	bool json;
	bool quiet;    /* messages go to error[], not to standard error */
	int timeout_s; /* of an answer; 0: none */
	char error[160];
	uint32_t given; /* enum ctl_option */
	const char *domain, *sender, *from, *state, *peer, *sort, *conn, *pcap, *view;
	uint64_t limit, port, seconds, packets, snap, interval;
	const char *recipient;
	uint64_t older_ms, messages;
	const char *config; /* of bypostd --store; NULL: the default */
	/* connection */
	int fd;
	char *line;
	size_t have, used; /* octets in line, octets of the line given out last */
};

struct ctl_command {
	const char *noun, *verb; /* verb NULL: the noun is the whole command */
	const char *args, *help;
	int min, max;     /* further words */
	uint32_t options; /* that it takes */
	int (*run)(struct ctl *c, char **args, int n);
};

/* ---- client.c ---- */

/* Send a request and take the reference.  CTL_OK, or CTL_ERROR after a message. */
int ctl_send(struct ctl *c, json_t *request) WARN_UNUSED;
/* The next line of the answer; the caller's reference.  NULL after a message: the daemon has gone
 * or talks nonsense. */
json_t *ctl_receive(struct ctl *c);
/* Is it the last line?  Then *exit_r is the exit status, and an error has been printed. */
bool ctl_is_last(struct ctl *c, const json_t *object, int *exit_r);
/* Send, give each line but the last to show (NULL: none expected), return the exit status.  last_r:
 * the last line, if wanted. */
int ctl_run(struct ctl *c, json_t *request, void (*show)(const json_t *object, void *ctx),
	void *ctx, json_t **last_r);
/* The answer to what has been sent, as ctl_run reads it. */
int ctl_answer(
	struct ctl *c, void (*show)(const json_t *object, void *ctx), void *ctx, json_t **last_r);
/* Does a daemon listen?  Says nothing when not. */
bool ctl_reachable(struct ctl *c);
void ctl_close(struct ctl *c);

/* ---- format.c: text for people; strings of others are made safe for a terminal ---- */

const char *ctl_text(const json_t *object, const char *key); /* "" when absent */
uint64_t ctl_number(const json_t *object, const char *key);
double ctl_real(const json_t *object, const char *key);
/* The following write into out and return it. */
const char *format_safe(const char *text, char *out, size_t cap);
const char *format_bytes(uint64_t n, char out[16]);                  /* "12.3M" */
const char *format_duration(uint64_t ms, char out[16]);              /* "4m", "2d3h" */
const char *format_list(const json_t *array, char *out, size_t cap); /* "a,b": of texts */
const char *format_count(uint64_t n, char out[16]); /* "1234", "12.3k" above 100,000 */

/* ---- commands ---- */

int ctl_reload(struct ctl *c, char **args, int n);
int ctl_status(struct ctl *c, char **args, int n);
int ctl_counters(struct ctl *c, char **args, int n);
int ctl_queue_list(struct ctl *c, char **args, int n);
int ctl_queue_show(struct ctl *c, char **args, int n);
int ctl_queue_retry(struct ctl *c, char **args, int n);
int ctl_queue_delete(struct ctl *c, char **args, int n);
int ctl_queue_hold(struct ctl *c, char **args, int n);
int ctl_queue_release(struct ctl *c, char **args, int n);
int ctl_net(struct ctl *c, char **args, int n);
int ctl_net_ports(struct ctl *c, char **args, int n);
int ctl_net_cores(struct ctl *c, char **args, int n);
int ctl_net_rings(struct ctl *c, char **args, int n);
int ctl_net_pools(struct ctl *c, char **args, int n);
int ctl_net_neighbours(struct ctl *c, char **args, int n);
int ctl_net_routes(struct ctl *c, char **args, int n);
int ctl_top(struct ctl *c, char **args, int n);
int ctl_why(struct ctl *c, char **args, int n);
int ctl_queue_why(struct ctl *c, char **args, int n);
int ctl_queue_domains(struct ctl *c, char **args, int n);
int ctl_trace(struct ctl *c, char **args, int n);
int ctl_tcp(struct ctl *c, char **args, int n);
int ctl_tcp_list(struct ctl *c, char **args, int n);
int ctl_tcp_show(struct ctl *c, char **args, int n);
int ctl_user_add(struct ctl *c, char **args, int n);
int ctl_user_passwd(struct ctl *c, char **args, int n);
int ctl_user_delete(struct ctl *c, char **args, int n);
int ctl_queue_bounce(struct ctl *c, char **args, int n);
int ctl_queue_priority(struct ctl *c, char **args, int n);
int ctl_user_quota(struct ctl *c, char **args, int n);
int ctl_user_disable(struct ctl *c, char **args, int n);
int ctl_user_enable(struct ctl *c, char **args, int n);
int ctl_alias_set(struct ctl *c, char **args, int n);
int ctl_alias_delete(struct ctl *c, char **args, int n);
int ctl_alias_list(struct ctl *c, char **args, int n);
int ctl_domain_add(struct ctl *c, char **args, int n);
int ctl_domain_delete(struct ctl *c, char **args, int n);
int ctl_domain_list(struct ctl *c, char **args, int n);
int ctl_user_list(struct ctl *c, char **args, int n);
int ctl_store_stat(struct ctl *c, char **args, int n);
int ctl_store_check(struct ctl *c, char **args, int n);
int ctl_store_backup(struct ctl *c, char **args, int n);
int ctl_store_restore(struct ctl *c, char **args, int n);
int ctl_store_compact(struct ctl *c, char **args, int n);

/* SPDX-License-Identifier: BSD-3-Clause
 * What the commands of the admin socket share.  Main thread only. */
#pragma once
#include <jansson.h>
#include "dataplane/base/list.h"
#include "store/control/admin.h"
#include "store/control/agent.h"

#define ADMIN_CLIENTS_MAX 16            /* chosen: operators and their scripts */
#define ADMIN_REQUEST_MAX 65536         /* octets of a request line; chosen */
#define ADMIN_OUTPUT_HIGH (256u * 1024) /* octets not read by the client: the command waits */
#define ADMIN_BATCH       64            /* messages per slice of the queue */
#define ADMIN_LIST_LIMIT  100           /* lines of a list unless asked for more */
#define ADMIN_SORTED_MAX  10000         /* rows that are kept to be sorted; chosen: 4 MiB */

struct admin_client;
struct bufferevent;
struct evconnlistener;

/* A walk over the queue: lists messages, or has the writer change them slice by slice. */
struct queue_walk {
	struct queue_list_op list;
	struct queue_admin_op act;
	struct queue_slice_op slice;
	struct queue_filter filter;
	bool filtered, stopped; /* stopped: the limit was reached, list.at.id is next */
	int8_t priority;        /* `queue priority` */
	uint64_t limit, listed, messages, recipients;
};

struct queue_show {
	struct queue_read_op read;
};

struct alias_work {
	struct alias_op alias;
	struct domain_op domain;
	struct names_list_op list;
	char address[ADDRESS_MAX + 1];
	char targets[8192]; /* each with its NUL */
	uint64_t listed;
};

struct user_work {
	struct password_op password;
	struct account_op account;
	struct accounts_list_op list;
	char address[ADDRESS_MAX];
	uint64_t listed;
};

enum tcp_sort {
	TCP_SORT_NONE,
	TCP_SORT_CWND,
	TCP_SORT_SRTT,
	TCP_SORT_RETRANSMITS,
	TCP_SORT_BYTES_IN,
	TCP_SORT_BYTES_OUT,
	TCP_SORT_UNSENT,
	TCP_SORT_UNREAD,
	TCP_SORT_AGE,
	TCP_SORT_N
};

/* What `tcp list` asks for. */
struct tcp_request {
	struct stack_filter filter;
	enum tcp_sort sort;
	uint32_t limit;
};

struct tcp_sorted {
	uint64_t value;
	uint32_t core;
	struct stack_conn_info row;
};

/* A walk over the connections of all cores. */
struct tcp_work {
	struct tcp_request request;
	uint32_t core;
	uint64_t found;
	struct tcp_sorted *heap; /* with a sort: the rows that come first; the client's `owned` */
	uint32_t kept;
	union {
		struct tcp_list_op list;
		struct tcp_show_op show;
	} u;
};

/* What `trace` asks for. */
struct trace_request {
	bool by_conn;
	uint32_t core; /* by_conn: whose connection it is */
	struct conn_id conn;
	struct ip_net peer;
	uint32_t seconds, packets, snap;
};
#define ADMIN_TRACE_SECONDS_MAX 3600
#define ADMIN_TRACE_PACKETS_MAX 1000000
#define ADMIN_TRACE_SNAP_MIN    64 /* headers; chosen */

/* A trace under way; the rings are the client's `owned`. */
struct trace_work {
	struct trace_request request;
	struct capture_ring *rings[CORES_MAX];
	struct event *timer;
	uint32_t core; /* the one that is being told */
	bool stopping;
	uint64_t until_us, sent, bytes;
	union {
		struct capture_op trace;
		struct tcp_show_op show;
	} u;
};

struct why_group;

/* `queue why`, `why` and `queue domains`. */
struct why_work {
	/* one message */
	struct message *message;
	struct chain rows;
	uint32_t at; /* recipient */
	/* all of them */
	struct why_group *groups; /* the client's `owned` */
	uint32_t group_n, limit;
	uint64_t messages, recipients;
	/* domains */
	struct delivery_domain_info *domains; /* largest first; the client's `owned` */
	uint32_t domain_n, core;
	uint64_t found;
	union {
		struct queue_read_op read;
		struct queue_list_op list;
		struct recipient_op rcpt;
		struct domains_op domains;
	} u;
};

/* A check: the shard under way, and what the others had. */
struct check_work {
	struct store_check_op op, total;
};

/* Neighbours or routes. */
struct net_work {
	struct net_op op;
	bool routes;
	uint32_t core;
	uint64_t sent;
};

/* One request at a time per client; its memory stays until the op under way is done. */
struct admin_client {
	struct list node;
	struct admin *admin;
	struct bufferevent *bev;                /* NULL: the client has gone */
	bool busy;                              /* a command is under way */
	void (*resume)(struct admin_client *c); /* waits until the client has read */
	/* an op that waits for credit */
	struct list waiting;
	struct op *waiting_op;
	struct channel *waiting_channel;
	union {
		struct queue_walk walk;
		struct queue_show show;
		struct user_work user;
		struct alias_work alias;
		struct tcp_work tcp;
		struct net_work net;
		struct why_work why;
		struct trace_work trace;
		struct check_work check;
		struct store_stat_op stat;
	} work;
	void *owned; /* heap memory of the command under way */
	/* a command that goes over the shards of the store one by one */
	unsigned shard, shard_bad; /* the one it is at; the first that failed it */
	int shard_status;          /* of that one; 0: none */
};

struct admin {
	struct daemon *daemon;
	struct evconnlistener *listener;
	int fd;
	char path[108];
	struct list clients;
	unsigned client_count;
	struct admin_client *tracer; /* one at a time; NULL: none */
	struct list waiting;         /* clients whose op waits for credit */
};

/* Answers.  admin_send takes the reference. */
void admin_send(struct admin_client *c, json_t *object);
/* The last line: {"ok":true} and the fields of object, if any; takes the reference. */
void admin_done(struct admin_client *c, json_t *object);
void admin_fail(struct admin_client *c, const char *format, ...) PRINTF(2, 3);
/* As admin_fail with "status":"notfound": bypostctl exits with 3. */
void admin_not_found(struct admin_client *c, const char *format, ...) PRINTF(2, 3);
/* The text for a status of the store's ops. */
const char *admin_store_error(int status);

/* An unsigned number as a member. */
static inline void admin_put(json_t *object, const char *key, uint64_t v)
{
	json_object_set_new(object, key, json_integer((json_int_t)v));
}
/* Parts of `status` and `net`; the caller's references. */
json_t *admin_cores_json(const struct daemon *d);
json_t *admin_ports_json(void);
json_t *admin_pools_json(void);
json_t *admin_tcp_json(const struct daemon *d);

/* Parse the objects of a chain of JSON lines as the store's readers make them, and empty it.  line
 * borrows the object; false ends the walk. */
void admin_lines_each(struct chain *lines, bool (*line)(struct admin_client *c, json_t *object),
	struct admin_client *c);

/* Submit, now or when there is credit.  op->done is called with the client still there; bev may be
 * NULL by then: answers go nowhere. */
void admin_submit(struct admin_client *c, struct channel *ch, struct op *op);
/* The writer and the reader of the shard that the command is at. */
struct channel *admin_writer(struct admin_client *c);
struct channel *admin_reader(struct admin_client *c);
/* A shard's part is over with this status.  True: the command goes on with the next one. */
bool admin_next_shard(struct admin_client *c, int status);
/* After the last: true when one has failed the command; that has been answered. */
bool admin_shards_failed(struct admin_client *c);
/* False: the client must read first; resume is called when it has (or has gone). */
bool admin_may_send(struct admin_client *c, void (*resume)(struct admin_client *c));

/* Parse a request line and run its command.  Exposed for tests and the fuzzer through
 * admin_request_parse. */
struct admin_command {
	const char *name;
	void (*run)(struct admin_client *c, const json_t *request);
};
/* The object of a line and its command, or NULL and a message.  Takes nothing for granted. */
json_t *admin_request_parse(
	const char *line, size_t n, const char **command_r, char *error, size_t error_n);
/* Text member; NULL: absent.  *ok_r false: it is there but no text, too long, or has a NUL. */
const char *admin_text(const json_t *request, const char *key, size_t max, bool *ok_r);
/* Non-negative number up to max; def when absent.  *ok_r as above. */
uint64_t admin_number(
	const json_t *request, const char *key, uint64_t def, uint64_t max, bool *ok_r);

/* NULL: it is good, and *r is what it asks for; else what is wrong. */
const char *admin_tcp_request(const json_t *request, struct tcp_request *r);
const char *admin_trace_request(const json_t *request, struct trace_request *r);
/* "core.index.generation"; NULL is none. */
bool admin_conn_id(const char *text, uint32_t *core_r, struct conn_id *id_r);

void admin_status(struct admin_client *c, const json_t *request);
void admin_counters(struct admin_client *c, const json_t *request);
void admin_queue_list(struct admin_client *c, const json_t *request);
void admin_queue_show(struct admin_client *c, const json_t *request);
void admin_queue_retry(struct admin_client *c, const json_t *request);
void admin_queue_delete(struct admin_client *c, const json_t *request);
void admin_queue_hold(struct admin_client *c, const json_t *request);
void admin_queue_release(struct admin_client *c, const json_t *request);
void admin_reload(struct admin_client *c, const json_t *request);
void admin_user_add(struct admin_client *c, const json_t *request);
void admin_user_passwd(struct admin_client *c, const json_t *request);
void admin_user_delete(struct admin_client *c, const json_t *request);
void admin_store_check(struct admin_client *c, const json_t *request);
void admin_store_stat(struct admin_client *c, const json_t *request);
void admin_store_backup(struct admin_client *c, const json_t *request);
void admin_queue_bounce(struct admin_client *c, const json_t *request);
void admin_queue_priority(struct admin_client *c, const json_t *request);
void admin_user_quota(struct admin_client *c, const json_t *request);
void admin_user_disable(struct admin_client *c, const json_t *request);
void admin_user_enable(struct admin_client *c, const json_t *request);
void admin_alias_set(struct admin_client *c, const json_t *request);
void admin_alias_delete(struct admin_client *c, const json_t *request);
void admin_alias_list(struct admin_client *c, const json_t *request);
void admin_domain_add(struct admin_client *c, const json_t *request);
void admin_domain_delete(struct admin_client *c, const json_t *request);
void admin_domain_list(struct admin_client *c, const json_t *request);
void admin_user_list(struct admin_client *c, const json_t *request);
void admin_net(struct admin_client *c, const json_t *request);
void admin_net_neighbours(struct admin_client *c, const json_t *request);
void admin_net_routes(struct admin_client *c, const json_t *request);
void admin_tcp(struct admin_client *c, const json_t *request);
void admin_tcp_list(struct admin_client *c, const json_t *request);
void admin_tcp_show(struct admin_client *c, const json_t *request);
void admin_why(struct admin_client *c, const json_t *request);
void admin_queue_why(struct admin_client *c, const json_t *request);
void admin_queue_domains(struct admin_client *c, const json_t *request);
void admin_trace(struct admin_client *c, const json_t *request);
/* The daemon ends: what a trace holds. */
void admin_trace_free(struct admin_client *c);

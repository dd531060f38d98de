/* SPDX-License-Identifier: BSD-3-Clause
 * The admin socket and its clients. */
#include "store/control/admin_priv.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <grp.h>
#include <libgen.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "dataplane/base/log.h"
#include "store/control/privileges.h"

#define IDLE_S 600 /* chosen: a client that is silent that long is gone */

static const struct admin_command commands[] = {
	{"status",         admin_status        },
	{"counters",       admin_counters      },
	{"queue list",     admin_queue_list    },
	{"queue show",     admin_queue_show    },
	{"queue retry",    admin_queue_retry   },
	{"queue delete",   admin_queue_delete  },
	{"queue hold",     admin_queue_hold    },
	{"queue release",  admin_queue_release },
	{"user add",       admin_user_add      },
	{"user passwd",    admin_user_passwd   },
	{"user delete",    admin_user_delete   },
	{"user list",      admin_user_list     },
	{"reload",         admin_reload        },
	{"net",            admin_net           },
	{"net neighbours", admin_net_neighbours},
	{"net routes",     admin_net_routes    },
	{"tcp",            admin_tcp           },
	{"tcp list",       admin_tcp_list      },
	{"why",            admin_why           },
	{"queue why",      admin_queue_why     },
	{"queue domains",  admin_queue_domains },
	{"trace",          admin_trace         },
	{"tcp show",       admin_tcp_show      },
	{"queue bounce",   admin_queue_bounce  },
	{"queue priority", admin_queue_priority},
	{"user quota",     admin_user_quota    },
	{"user disable",   admin_user_disable  },
	{"user enable",    admin_user_enable   },
	{"alias set",      admin_alias_set     },
	{"alias delete",   admin_alias_delete  },
	{"alias list",     admin_alias_list    },
	{"domain add",     admin_domain_add    },
	{"domain delete",  admin_domain_delete },
	{"domain list",    admin_domain_list   },
	{"store check",    admin_store_check   },
	{"store stat",     admin_store_stat    },
	{"store backup",   admin_store_backup  },
};

/* ---- answers ---- */

static void send_line(struct admin_client *c, const json_t *object)
{
	char *text = c->bev ? json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	if (text) {
		evbuffer_add(bufferevent_get_output(c->bev), text, strlen(text));
		evbuffer_add(bufferevent_get_output(c->bev), "\n", 1);
	}
	free(text);
}

void admin_send(struct admin_client *c, json_t *object)
{
	send_line(c, object);
	json_decref(object);
}

static void client_release(struct admin_client *c)
{
	if (c->busy || c->bev)
		return;
	list_remove(&c->waiting);
	list_remove(&c->node);
	c->admin->client_count--;
	free(c);
}

/* The command is over; requests that came meanwhile are next (from the event loop). */
static void finish(struct admin_client *c, json_t *last)
{
	admin_send(c, last);
	free(c->owned);
	c->owned = NULL;
	memset(&c->work, 0, sizeof(c->work));
	c->resume = NULL;
	c->busy = false;
	if (c->bev)
		bufferevent_trigger(
			c->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
	else
		client_release(c);
}

void admin_done(struct admin_client *c, json_t *object)
{
	json_t *last = json_pack("{s:b}", "ok", 1);

	if (object)
		json_object_update(last, object);
	json_decref(object);
	finish(c, last);
}

static void fail(struct admin_client *c, const char *status, const char *format, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, ap);
	json_t *message = json_string(text);
	if (!message)
		message = json_string("(unprintable error)");
	finish(c, json_pack("{s:b, s:s, s:o}", "ok", 0, "status", status, "error", message));
}

void admin_fail(struct admin_client *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fail(c, "error", format, ap);
	va_end(ap);
}

void admin_not_found(struct admin_client *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fail(c, "notfound", format, ap);
	va_end(ap);
}

const char *admin_store_error(int status)
{
	switch (status) {
	case -ENOENT:
		return "there is no such thing";
	case -EEXIST:
		return "it exists already";
	case -ENOSPC:
		return "the store is full";
	case -ELOOP:
		return "it would come back to itself";
	case -EDQUOT:
		return "over quota";
	case -EIO:
		return "the store has failed";
	case -ENOBUFS:
		return "no memory for the answer, try again";
	default:
		return strerror(-status);
	}
}

/* ---- ops ---- */

static void wait_for_credit(struct admin_client *c, struct channel *ch, struct op *op)
{
	c->waiting_op = op;
	c->waiting_channel = ch;
	list_push_tail(&c->admin->waiting, &c->waiting);
}

void admin_submit(struct admin_client *c, struct channel *ch, struct op *op)
{
	if (channel_submit(ch, op) < 0)
		wait_for_credit(c, ch, op);
}

struct channel *admin_writer(struct admin_client *c)
{
	return &c->admin->daemon->writers[c->shard];
}

struct channel *admin_reader(struct admin_client *c)
{
	return &c->admin->daemon->readers[c->shard];
}

bool admin_next_shard(struct admin_client *c, int status)
{
	if (status != 0 && c->shard_status == 0) {
		c->shard_status = status;
		c->shard_bad = c->shard;
	}
	return ++c->shard < shards_count(c->admin->daemon->store);
}

bool admin_shards_failed(struct admin_client *c)
{
	if (c->shard_status == 0)
		return false;
	if (shards_count(c->admin->daemon->store) == 1)
		admin_fail(c, "%s", admin_store_error(c->shard_status));
	else
		admin_fail(c, "shard %u: %s", c->shard_bad, admin_store_error(c->shard_status));
	return true;
}

/* Some channel has credit again: first come, first served. */
static void on_credit(void *ctx)
{
	struct admin *a = ctx;

	list_for_each_safe(it, tmp, &a->waiting)
	{
		struct admin_client *c = list_entry(it, struct admin_client, waiting);
		if (channel_submit(c->waiting_channel, c->waiting_op) == 0)
			list_remove(&c->waiting);
	}
}

bool admin_may_send(struct admin_client *c, void (*resume)(struct admin_client *c))
{
	if (!c->bev || evbuffer_get_length(bufferevent_get_output(c->bev)) < ADMIN_OUTPUT_HIGH)
		return true;
	c->resume = resume;
	return false;
}

/* ---- clients ---- */

static void run_command(struct admin_client *c, const char *line, size_t n)
{
	const char *command;
	char error[128];
	json_t *request = admin_request_parse(line, n, &command, error, sizeof(error));

	c->busy = true;
	c->shard = 0;
	c->shard_status = 0;
	if (!request) {
		admin_fail(c, "%s", error);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, command) == 0) {
			commands[i].run(c, request);
			json_decref(request);
			return;
		}
	}
	json_decref(request);
	admin_fail(c, "unknown command");
}

static void client_gone(struct admin_client *c)
{
	bufferevent_free(c->bev);
	c->bev = NULL;
	if (c->busy && c->resume) {
		void (*resume)(struct admin_client *) = c->resume;
		c->resume = NULL;
		resume(c);
		return;
	}
	client_release(c);
}

static void on_read(struct bufferevent *bev, void *ctx)
{
	struct admin_client *c = ctx;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t n;

	if (c->busy)
		return; /* the read watermark keeps the rest in the kernel */
	char *line = evbuffer_readln(in, &n, EVBUFFER_EOL_LF);
	if (line) {
		run_command(c, line, n);
		explicit_bzero(line, n); /* may have held a password */
		free(line);
	} else if (evbuffer_get_length(in) >= ADMIN_REQUEST_MAX) {
		client_gone(c);
	}
}

static void on_written(struct bufferevent *bev, void *ctx)
{
	struct admin_client *c = ctx;
	void (*resume)(struct admin_client *) = c->resume;

	(void)bev;
	c->resume = NULL;
	if (resume)
		resume(c);
}

static void on_event(struct bufferevent *bev, short what, void *ctx)
{
	struct admin_client *c = ctx;

	(void)bev;
	if (what & BEV_EVENT_TIMEOUT && what & BEV_EVENT_READING && c->busy) {
		bufferevent_enable(c->bev, EV_READ); /* it waits for us, not we for it */
		return;
	}
	client_gone(c);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
	int from_n, void *ctx)
{
	static const struct timeval idle = {.tv_sec = IDLE_S};
	struct admin *a = ctx;
	struct admin_client *c = a->client_count < ADMIN_CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;

	(void)listener;
	(void)from;
	(void)from_n;
	if (c)
		c->bev = bufferevent_socket_new(a->daemon->events, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c || !c->bev) {
		free(c);
		close(fd);
		return;
	}
	c->admin = a;
	a->client_count++;
	list_init(&c->waiting);
	list_push_tail(&a->clients, &c->node);
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, ADMIN_REQUEST_MAX + 1);
	bufferevent_set_timeouts(c->bev, &idle, &idle);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- socket ---- */

/* A socket that nobody listens on is left over from a daemon that was killed. */
static int remove_stale(int fd, const struct sockaddr_un *to)
{
	struct stat st;

	if (lstat(to->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0)
		return -EADDRINUSE;
	return unlink(to->sun_path) < 0 ? -errno : 0;
}

static int socket_rights(const char *path, const struct privileges *p, const char *group)
{
	gid_t gid = p->gid;

	if (group[0]) {
		const struct group *g = getgrnam(group);
		if (!g)
			return -EINVAL;
		gid = g->gr_gid;
	}
	if ((p->drop || group[0]) && chown(path, p->uid, gid) < 0)
		return -errno;
	return chmod(path, 0660) < 0 ? -errno : 0;
}

static int socket_bind(struct admin *a, const struct privileges *p)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = probe < 0 ? -errno : 0;

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", a->path);
	if (err == 0)
		err = remove_stale(probe, &to);
	if (probe >= 0)
		close(probe);
	if (err < 0)
		return err;
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0117);
	if (a->fd < 0 || bind(a->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err = -errno;
	umask(mask);
	if (err == 0)
		err = socket_rights(a->path, p, a->daemon->config->root.admin.group);
	return err;
}

static int socket_open(struct admin *a, const struct privileges *p, char *error, size_t error_n)
{
	char directory[sizeof(a->path)];

	snprintf(directory, sizeof(directory), "%s", a->path);
	int err = privileges_directory(p, "admin.socket", dirname(directory), 0755, error, error_n);
	if (err < 0)
		return err;
	err = socket_bind(a, p);
	if (err == 0) {
		a->listener = evconnlistener_new(a->daemon->events, on_accept, a,
			LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16, a->fd);
		err = a->listener ? 0 : -ENOMEM;
	}
	if (err < 0)
		snprintf(error, error_n, "key %s: %s: %s",
			err == -EINVAL ? "admin.group" : "admin.socket", a->path,
			err == -EINVAL       ? "there is no such group"
			: err == -EADDRINUSE ? "another bypostd answers there"
			: err == -EEXIST     ? "this is something else than a socket"
					     : strerror(-err));
	return err;
}

static void channel_attach(struct admin *a, struct channel *ch)
{
	ch->on_credit = on_credit;
	ch->ctx = a;
}

int admin_create(struct daemon *d, const struct privileges *p, struct admin **admin_r, char *error,
	size_t error_n)
{
	struct admin *a = calloc(1, sizeof(*a));

	*admin_r = a;
	if (!a) {
		snprintf(error, error_n, "cannot make the admin socket: out of memory");
		return -ENOMEM;
	}
	a->daemon = d;
	a->fd = -1;
	list_init(&a->clients);
	list_init(&a->waiting);
	snprintf(a->path, sizeof(a->path), "%s", d->config->root.admin.socket);
	channel_attach(a, &d->hasher);
	for (unsigned i = 0; i < shards_count(d->store); i++) {
		channel_attach(a, &d->writers[i]);
		channel_attach(a, &d->readers[i]);
	}
	for (unsigned i = 0; i < d->core_count; i++)
		channel_attach(a, &d->rooms[i].questions);
	return socket_open(a, p, error, error_n);
}

void admin_destroy(struct admin **admin)
{
	struct admin *a = *admin;

	if (!a)
		return;
	list_for_each_safe(it, tmp, &a->clients)
	{
		struct admin_client *c = list_entry(it, struct admin_client, node);
		if (c->bev)
			bufferevent_free(c->bev);
		if (a->tracer == c)
			admin_trace_free(c);
		free(c->owned);
		free(c);
	}
	if (a->listener) {
		evconnlistener_free(a->listener);
		/* Without rights on its directory it stays, and the next start removes it. */
		if (unlink(a->path) < 0)
			log_debug("control", "admin socket left path=%s", a->path);
	} else if (a->fd >= 0) {
		close(a->fd);
	}
	free(a);
	*admin = NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * OWNER: the core's thread. */
#include "store/access/access_conn.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"

#define ROUNDS_PER_SERVICE                                                                         \
	8 /* times an engine may fill the send buffer before others have a turn */

static uint64_t now_us(const struct access_conn *c)
{
	return c->server->access->core->now_us;
}

static struct timer_wheel *wheel(const struct access_conn *c)
{
	return &c->server->access->core->wheel;
}

static void idle_arm(struct access_conn *c)
{
	uint64_t now = now_us(c);
	uint64_t until =
		MIN(now + ACCESS_ANONYMOUS_TIMEOUT_US, c->opened_us + ACCESS_LOGIN_TIMEOUT_US);

	if (c->engine->logged_in)
		until = now +
			MAX(c->server->access->idle_timeout_us, c->server->proto->idle_min_us);
	if (c->command_us)
		until = MIN(until, c->command_us + ACCESS_COMMAND_TIMEOUT_US);
	if (c->stalled || c->engine->content_comes)
		until = MIN(until, now + ACCESS_STALL_TIMEOUT_US);
	timer_arm(wheel(c), &c->idle, until);
}

static void runnable_add(struct access_conn *c)
{
	if (list_empty(&c->run_node))
		list_push_tail(&c->server->runnable, &c->run_node);
}

/* ---- the engine's host ---- */

static void host_submit(void *ctx, enum access_server_kind to, uint32_t account, struct op *op)
{
	struct access_conn *c = ctx;
	struct access *a = c->server->access;
	struct channel *ch =
		to == ACCESS_WRITER ? access_writer(a, account) : access_reader(a, account);

	access_submit(a, ch, op, &c->waiter);
}

static void login_wrong(struct access_conn *c)
{
	char peer[IP_TEXT_MAX];

	log_info(c->server->proto->name, "authentication failed peer=%s",
		ip_format(&c->stream.peer.ip, peer));
	c->answer_us = MAX(c->answer_us, now_us(c) + guess_wrong_us(&c->guess, now_us(c)));
}

static void asking_end(struct access_conn *c)
{
	if (c->asking)
		guess_leave(&c->guess);
	c->asking = false;
}

/* ---- accounts ---- */

static struct list *account_bucket(struct access_server *s, uint32_t account)
{
	return &s->accounts[account % ACCESS_LOCK_BUCKETS];
}

static bool account_is_full(struct access_server *s, uint32_t account)
{
	uint32_t n = 0, max = s->access->account_sessions;

	list_for_each(it, account_bucket(s, account)) n +=
		list_entry(it, struct access_conn, account_node)->account == account;
	return max && n >= max;
}

static enum login_result account_enter(struct access_conn *c, uint32_t account)
{
	if (account_is_full(c->server, account))
		return LOGIN_LIMIT;
	c->account = account;
	list_remove(&c->stranger_node);
	list_remove(&c->account_node);
	list_push_tail(account_bucket(c->server, account), &c->account_node);
	return LOGIN_OK;
}

static void login_told(struct access_conn *c, enum login_result result, uint32_t account)
{
	if (result == LOGIN_OK && c->open)
		result = account_enter(c, account);
	counter_inc(result == LOGIN_OK ? CTR_AUTH_OK : CTR_AUTH_FAILED);
	if (result == LOGIN_WRONG)
		login_wrong(c);
	c->engine->login_delay_us = c->answer_us > now_us(c) ? c->answer_us - now_us(c) : 0;
	if (c->engine->login_delay_us == 0 || !c->open)
		asking_end(c);
	c->engine->busy = false;
	c->engine->ops->login_done(c->engine, result, account);
	if (c->open)
		idle_arm(c);
}

static void login_over(struct login *l, enum login_result result, uint32_t account)
{
	struct access_conn *c = l->ctx;

	login_told(c, result, account);
	access_conn_service(c);
}

static void host_login(void *ctx, struct bytes user, struct bytes password)
{
	struct access_conn *c = ctx;

	c->engine->busy = true;
	c->login.done = login_over;
	c->login.ctx = c;
	asking_end(c);
	guess_make(&c->guess, &c->stream.peer.ip, user, password);
	c->answer_us = 0;
	c->asking = guess_enter(&c->guess);
	c->refused = !c->asking;
	if (c->refused) {
		runnable_add(c);
		return;
	}
	c->answer_us = now_us(c) + guess_wait_us(&c->guess, now_us(c));
	login_start(&c->login, c->server->access, user, password);
}

static void host_timer(void *ctx, uint64_t delay_us)
{
	struct access_conn *c = ctx;

	timer_arm(wheel(c), &c->timer, now_us(c) + delay_us);
}

static void host_again(void *ctx)
{
	runnable_add(ctx);
}

/* In its turn: many answers may come in one lap. */
static void host_ready(void *ctx)
{
	runnable_add(ctx);
}

static void watch_changed(struct access_watch *w)
{
	struct access_conn *c = container_of(w, struct access_conn, watch);

	if (c->engine->changed_us == 0)
		c->engine->changed_us = w->commit_us;
	c->engine->ops->changed(c->engine);
	runnable_add(c);
}

static void host_watch(void *ctx, uint32_t account, uint32_t box)
{
	struct access_conn *c = ctx;

	c->watch.changed = watch_changed;
	access_watch_set(c->server->access, &c->watch, account ? mbox_event(account, box) : 0);
}

static void host_unlock(void *ctx)
{
	struct access_conn *c = ctx;

	list_remove(&c->lock_node);
	c->locked = 0;
}

static bool host_lock(void *ctx, uint32_t account)
{
	struct access_conn *c = ctx;
	struct list *bucket = &c->server->locks[account % ACCESS_LOCK_BUCKETS];

	list_for_each(it, bucket)
	{
		if (list_entry(it, struct access_conn, lock_node)->locked == account)
			return false;
	}
	host_unlock(c);
	c->locked = account;
	list_push_tail(bucket, &c->lock_node);
	return true;
}

/* Has the account its share of these spaces? */
static bool has_share(const struct access_conn *c, enum access_space kind)
{
	struct access_server *s = c->server;
	unsigned n = 0, max = MAX(s->proto->spaces[kind] / ACCESS_SPACE_SHARE, 1u);

	list_for_each(it, account_bucket(s, c->account))
	{
		const struct access_conn *other = list_entry(it, struct access_conn, account_node);
		n += other->account == c->account ? other->spaces[kind] : 0;
	}
	return n >= max;
}

static void *host_space_get(void *ctx, enum access_space kind)
{
	struct access_conn *c = ctx;
	void *space = has_share(c, kind) ? NULL : c->server->spaces[kind];

	if (!space)
		return NULL;
	c->server->spaces[kind] = *(void **)space;
	c->spaces[kind]++;
	if (kind == ACCESS_SPACE_COMMAND)
		c->command_us = now_us(c);
	return space;
}

static void host_space_put(void *ctx, enum access_space kind, void *space)
{
	struct access_conn *c = ctx;

	c->spaces[kind]--;
	if (kind == ACCESS_SPACE_COMMAND)
		c->command_us = 0;
	*(void **)space = c->server->spaces[kind];
	c->server->spaces[kind] = space;
}

/* ---- memory ---- */

/* Chunks that sessions of all cores have.  The pool is that of mail on its way: what mailbox
 * clients ask for must not stop it. */
static _Atomic uint32_t held_all;

static void conn_weigh(struct access_conn *c, bool gone)
{
	uint32_t held = gone ? 0 : c->engine->out.chunks + c->engine->ops->held(c->engine);

	if (held != c->weight)
		atomic_fetch_add_explicit(&held_all, held - c->weight, memory_order_relaxed);
	c->weight = held;
}

static uint32_t account_held(const struct access_conn *c)
{
	uint32_t n = 0;

	list_for_each(it, account_bucket(c->server, c->account))
	{
		const struct access_conn *other = list_entry(it, struct access_conn, account_node);
		n += other->account == c->account ? other->weight : 0;
	}
	return n;
}

static bool host_may_grow(void *ctx, enum access_use use)
{
	struct access_conn *c = ctx;
	uint32_t all = atomic_load_explicit(&held_all, memory_order_relaxed);
	uint32_t pool = chunk_pool_size();
	uint32_t max = use == ACCESS_USE_LIST ? pool / 100 * ACCESS_LISTS_PERCENT
					      : pool / 100 * ACCESS_MEMORY_PERCENT;

	if (all < max / 2)
		return true;
	return all < max && account_held(c) < max / ACCESS_MEMORY_SHARE;
}

static uint64_t host_now_ms(void *ctx)
{
	struct access_conn *c = ctx;

	return c->server->access->core->now_ms;
}

static uint64_t host_new_id(void *ctx)
{
	struct access_conn *c = ctx;
	struct core *core = c->server->access->core;

	return ids_next(&core->ids, core->now_ms);
}

const struct access_host_ops access_conn_host = {
	.submit = host_submit,
	.login = host_login,
	.timer = host_timer,
	.again = host_again,
	.ready = host_ready,
	.watch = host_watch,
	.lock = host_lock,
	.unlock = host_unlock,
	.space_get = host_space_get,
	.space_put = host_space_put,
	.may_grow = host_may_grow,
	.now_ms = host_now_ms,
	.new_id = host_new_id,
};

/* ---- TLS ---- */

/* All that comes from now on is the handshake; on_secure follows, or on_close. */
static void begin_tls(struct access_conn *c)
{
	const struct access *a = c->server->access;

	c->handshaking = true;
	c->held = false; /* what the engine has left is TLS's */
	list_remove(&c->input_node);
	if (tls_accept(a->tls, a->tls_config, &c->stream) < 0)
		c->engine->aborted = true; /* no memory */
}

static void on_secure(struct stream *s)
{
	struct access_conn *c = container_of(s, struct access_conn, stream);

	c->handshaking = c->engine->wants_tls = false;
	c->engine->secure = true;
	if (!c->greeted)
		c->engine->ops->start(c->engine);
	c->greeted = true;
	idle_arm(c);
	runnable_add(c);
}

static void note_tls_failure(const struct access_conn *c)
{
	char peer[IP_TEXT_MAX];

	log_info(c->server->proto->name, "TLS failed peer=%s: %s",
		ip_format(&c->stream.peer.ip, peer), tls_error(c->server->access->tls));
}

/* ---- life ---- */

static void conn_release(struct access_conn *c)
{
	access_out_free(&c->engine->out);
	conn_weigh(c, true);
	host_unlock(c);
	list_remove(&c->run_node);
	list_remove(&c->stranger_node);
	list_remove(&c->account_node);
	c->account = 0;
	list_remove(&c->node);
	list_push_head(&c->server->idle, &c->node);
	c->server->sessions--;
}

/* The stream is not ours any more; the session stays while an op of it is under way. */
static void conn_hangup(struct access_conn *c)
{
	c->open = false;
	list_remove(&c->input_node);
	if (!c->engine->busy)
		asking_end(c);
	timer_cancel(wheel(c), &c->idle);
	timer_cancel(wheel(c), &c->timer);
	access_watch_set(c->server->access, &c->watch, 0);
	c->engine->hung_up = true;
	c->engine->ops->hangup(c->engine);
	access_out_free(&c->engine->out);
}

static bool conn_send(struct access_conn *c)
{
	struct access_out *out = &c->engine->out;
	bool progress = false;

	for (struct bytes b = access_out_peek(out); b.n; b = access_out_peek(out)) {
		size_t n = stream_send(&c->stream, b);
		access_out_consume(out, n);
		progress = progress || n;
		if (n < b.n)
			break;
	}
	bool stalled = access_out_bytes(out) > 0;
	if (progress || stalled != c->stalled) {
		c->stalled = stalled;
		idle_arm(c);
	}
	return progress;
}

static void conn_end(struct access_conn *c)
{
	if (c->engine->aborted || c->engine->out.failed)
		stream_abort(&c->stream);
	else
		stream_close(&c->stream);
	conn_hangup(c);
}

void access_conn_evict(struct access_conn *c)
{
	c->engine->aborted = true;
	conn_end(c);
	access_conn_service(c);
}

static bool conn_is_over(const struct access_conn *c)
{
	const struct access_engine *e = c->engine;

	if (e->aborted || e->out.failed)
		return true;
	if (access_out_bytes(&e->out))
		return false;
	return e->ended || (c->eof && !e->busy && e->ops->wants_input(e));
}

static void conn_rounds(struct access_conn *c)
{
	bool progress = true;

	for (unsigned i = 0; i < ROUNDS_PER_SERVICE && progress && !c->handshaking; i++) {
		c->engine->ops->run(c->engine);
		progress = conn_send(c);
		if (c->engine->wants_tls && !access_out_bytes(&c->engine->out))
			begin_tls(c);
		if (conn_is_over(c)) {
			conn_end(c);
			return;
		}
	}
	if (c->handshaking)
		return;
	if (progress)
		runnable_add(c);
	if (!access_out_bytes(&c->engine->out) && c->engine->ops->wants_input(c->engine))
		access_out_relax(&c->engine->out);
	if (c->held && list_empty(&c->input_node) && c->engine->ops->wants_input(c->engine)) {
		c->held = false;
		stream_resume(&c->stream);
	}
}

void access_conn_service(struct access_conn *c)
{
	if (c->in_service) {
		runnable_add(c);
		return;
	}
	if (c->refused) {
		c->refused = false;
		login_told(c, LOGIN_BUSY, 0);
	}
	c->in_service = true;
	if (c->open)
		conn_rounds(c);
	else
		c->engine->ops->run(c->engine); /* a dead session may have something to take back */
	c->in_service = false;
	conn_weigh(c, false);
	if (!c->open && !c->engine->busy)
		conn_release(c);
}

/* ---- stream upcalls ---- */

/* A command may cost a look at each message of a mailbox, and many may come at once. */
static size_t commands_take(struct access_conn *c, struct bytes data)
{
	uint64_t began_us = clock_mono_us(), us = 0;
	size_t taken = 0;

	/* The engine stops at the end of each command: go on while it answers at once. */
	while (taken < data.n && us < ACCESS_LAP_US && c->open &&
		c->engine->ops->wants_input(c->engine)) {
		taken += c->engine->ops->input(c->engine, bytes_skip(data, taken));
		c->engine->ops->run(c->engine);
		us = clock_mono_us() - began_us;
	}
	access_server_spent(c->server, us);
	return taken;
}

static void input_wait(struct access_conn *c)
{
	if (list_empty(&c->input_node))
		list_push_tail(&c->server->inputs, &c->input_node);
}

static size_t on_data(struct stream *s, struct bytes data)
{
	struct access_conn *c = container_of(s, struct access_conn, stream);
	bool may = c->turn || access_server_turn(c->server);

	c->turn = false;
	if (!may) {
		c->held = true;
		input_wait(c);
		return 0;
	}
	size_t taken = commands_take(c, data);
	c->held = taken < data.n;
	if (c->held && c->open && c->engine->ops->wants_input(c->engine))
		input_wait(c);
	if (taken)
		idle_arm(c);
	runnable_add(
		c); /* a close from inside on_data would pull the stream from under the stack */
	return taken;
}

static void on_eof(struct stream *s)
{
	struct access_conn *c = container_of(s, struct access_conn, stream);

	c->eof = true;
	runnable_add(c);
}

static void on_writable(struct stream *s)
{
	runnable_add(container_of(s, struct access_conn, stream));
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	struct access_conn *c = container_of(s, struct access_conn, stream);

	if (reason == STREAM_TLS_FAILED)
		note_tls_failure(c);
	conn_hangup(c);
	access_conn_service(c);
}

static void describe(const struct stream *s, char *out, size_t cap)
{
	const struct access_conn *c = container_of(s, const struct access_conn, stream);
	const struct access_engine *e = c->engine;
	struct buf b;

	buf_init(&b, out, cap);
	buf_printf(&b, "%s: ", c->server->proto->name);
	if (e->ops->describe)
		e->ops->describe(e, &b);
	if (e->busy)
		buf_str(&b, ", waits for the store");
	out[MIN(b.n, cap - 1)] = '\0';
}

const struct stream_ops access_conn_stream_ops = {
	.describe = describe,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_secure = on_secure,
	.on_close = on_close,
};

/* ---- timers ---- */

static void engine_timer(struct timer *t, uint64_t now)
{
	struct access_conn *c = container_of(t, struct access_conn, timer);

	(void)now;
	asking_end(c); /* a late answer is given */
	c->engine->ops->timer(c->engine);
	access_conn_service(c);
}

static void idle_timer(struct timer *t, uint64_t now)
{
	struct access_conn *c = container_of(t, struct access_conn, idle);

	(void)now;
	if (c->command_us && !c->engine->ops->wants_input(c->engine)) {
		c->command_us = 0; /* it is whole: now it may take its time */
		idle_arm(c);
		return;
	}
	c->engine->ops->timeout(c->engine);
	if (!c->handshaking)
		conn_send(c);
	if (access_out_bytes(&c->engine->out))
		c->engine->aborted = true; /* the peer does not read: nothing more to wait for */
	conn_end(c);
	access_conn_service(c);
}

void access_conn_open(struct access_conn *c, bool implicit_tls)
{
	struct access_server *s = c->server;
	struct access_engine *e = c->engine;

	memset(e, 0, s->proto->engine_bytes);
	e->host = &access_conn_host;
	e->host_ctx = c;
	e->hostname = s->access->hostname;
	e->message_bytes_max = s->access->message_bytes_max;
	e->plaintext_login = s->access->plaintext_login;
	e->tls_offered = s->access->tls != NULL;
	e->wants_tls = implicit_tls;
	s->proto->init(e);
	c->stream.ops = &access_conn_stream_ops;
	c->open = true;
	c->opened_us = now_us(c);
	c->turn = false;
	c->account = 0;
	c->command_us = 0;
	c->stalled = false;
	c->held = c->eof = c->in_service = c->handshaking = false;
	c->greeted = !implicit_tls;
	c->waiter = (struct access_waiter){0};
	timer_init(&c->timer, engine_timer);
	timer_init(&c->idle, idle_timer);
	idle_arm(c);
	if (c->greeted)
		e->ops->start(e);
	runnable_add(c); /* the stream is not connected before accept returns */
}

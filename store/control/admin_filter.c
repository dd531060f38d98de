/* SPDX-License-Identifier: BSD-3-Clause
 * What requests about connections say: nothing here trusts the client. */
#include "store/control/admin_priv.h"

static const char *const sort_names[TCP_SORT_N] = {
	[TCP_SORT_NONE] = "none",
	[TCP_SORT_CWND] = "cwnd",
	[TCP_SORT_SRTT] = "srtt",
	[TCP_SORT_RETRANSMITS] = "retransmits",
	[TCP_SORT_BYTES_IN] = "bytes_in",
	[TCP_SORT_BYTES_OUT] = "bytes_out",
	[TCP_SORT_UNSENT] = "unsent",
	[TCP_SORT_UNREAD] = "unread",
	[TCP_SORT_AGE] = "age",
};

static enum tcp_sort sort_find(const char *text)
{
	unsigned i = 0;

	while (i < TCP_SORT_N && strcmp(sort_names[i], text) != 0)
		i++;
	return (enum tcp_sort)i;
}

static const char *filter_take(const json_t *request, struct stack_filter *f)
{
	bool state_ok, peer_ok, port_ok;
	const char *state = admin_text(request, "state", 16, &state_ok);
	const char *peer = admin_text(request, "peer", 64, &peer_ok);

	f->port = (uint16_t)admin_number(request, "port", 0, UINT16_MAX, &port_ok);
	if (!port_ok)
		return "port must be a number up to 65535";
	if (!state_ok || (state && stack_state_find(state) == STACK_STATE_N))
		return "there is no such state: established, syn-sent, syn-received, fin-wait-1, "
		       "fin-wait-2, close-wait, closing, last-ack, time-wait";
	if (state)
		f->states = 1u << stack_state_find(state);
	f->has_peer = peer != NULL;
	if (!peer_ok || (peer && ip_net_parse(bytes_str(peer), &f->peer) < 0))
		return "peer must be an address or a network";
	return NULL;
}

const char *admin_tcp_request(const json_t *request, struct tcp_request *r)
{
	bool limit_ok, sort_ok;
	const char *wrong, *sort = admin_text(request, "sort", 16, &sort_ok);

	*r = (struct tcp_request){.sort = TCP_SORT_NONE};
	wrong = filter_take(request, &r->filter);
	if (wrong)
		return wrong;
	if (sort)
		r->sort = sort_find(sort);
	if (!sort_ok || r->sort == TCP_SORT_N)
		return "sort must be one of cwnd, srtt, retransmits, bytes_in, bytes_out, unsent, "
		       "unread, age";
	r->limit = (uint32_t)admin_number(
		request, "limit", ADMIN_LIST_LIMIT, UINT32_MAX - 1, &limit_ok);
	if (!limit_ok || r->limit == 0 || (r->sort != TCP_SORT_NONE && r->limit > ADMIN_SORTED_MAX))
		return "limit must be a number from 1, with sort at most 10000";
	return NULL;
}

static bool number_take(const char **text, uint32_t *out, char end)
{
	const char *stop = strchrnul(*text, end);
	uint64_t v;

	if (bytes_to_u64(bytes_make(*text, (size_t)(stop - *text)), &v) < 0 || v > UINT32_MAX ||
		*stop != end)
		return false;
	*out = (uint32_t)v;
	*text = stop + (end ? 1 : 0);
	return true;
}

bool admin_conn_id(const char *text, uint32_t *core_r, struct conn_id *id_r)
{
	return text && number_take(&text, core_r, '.') && number_take(&text, &id_r->index, '.') &&
	       number_take(&text, &id_r->generation, '\0');
}

const char *admin_trace_request(const json_t *request, struct trace_request *r)
{
	bool conn_ok, peer_ok, seconds_ok, packets_ok, snap_ok;
	const char *conn = admin_text(request, "conn", 40, &conn_ok);
	const char *peer = admin_text(request, "peer", 64, &peer_ok);

	*r = (struct trace_request){.by_conn = conn != NULL};
	r->seconds = (uint32_t)admin_number(
		request, "seconds", 30, ADMIN_TRACE_SECONDS_MAX, &seconds_ok);
	r->packets = (uint32_t)admin_number(
		request, "packets", 10000, ADMIN_TRACE_PACKETS_MAX, &packets_ok);
	r->snap = (uint32_t)admin_number(
		request, "snap", CAPTURE_SNAP_MAX, CAPTURE_SNAP_MAX, &snap_ok);
	if (!conn_ok || !peer_ok || !conn == !peer)
		return "either a peer or a connection is to be named";
	if (conn && !admin_conn_id(conn, &r->core, &r->conn))
		return "the connection must be as `tcp list` shows it, \"0.17.3\"";
	if (peer && ip_net_parse(bytes_str(peer), &r->peer) < 0)
		return "peer must be an address or a network";
	if (!seconds_ok || r->seconds == 0)
		return "seconds must be a number from 1 to 3600";
	if (!packets_ok || r->packets == 0)
		return "packets must be a number from 1 to 1000000";
	if (!snap_ok || r->snap < ADMIN_TRACE_SNAP_MIN)
		return "snap must be a number of octets from 64 to 16384";
	return NULL;
}

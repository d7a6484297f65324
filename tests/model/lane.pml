/* SPDX-License-Identifier: Apache-2.0
 *
 * Death, drain and reclaim of a lane: clients that attach one after the other and may die at any
 * moment, the control thread, a daemon thread with a table of one lane, and the network, which
 * answers late and writes large values into a client's memory by itself.
 *
 * Only the kernel tells of a death (end-of-file). The control thread then asks the daemon to close
 * the lane; the daemon takes nothing more from it, lets its tickets come home, and publishes
 * `closed`; only then is the segment unmapped and the table entry used again. A segment is never
 * given to another client.
 *
 * CHECKED
 *   Nobody writes to memory that is not mapped.
 *   An answer reaches the client that asked, or nobody: never the next owner of the lane.
 *   A living client is never reclaimed, and gets all its answers.
 *   In the end, all memory of dead clients is unmapped and no ticket is left.
 *
 * PLANTED BUGS, each must be found
 *   BUG_RECLAIM_BEFORE_DRAIN   the daemon says closed while tickets are in flight
 *   BUG_UNMAP_AT_DEATH         the control thread unmaps at end-of-file
 *   BUG_TIMER_DECLARES_DEATH   a silent client counts as dead
 *   BUG_FORGET_TICKET          an answer for a closing lane is dropped without counting it home
 */
#define CLIENTS 2
#define REQUESTS 2
#define NOBODY CLIENTS

/* Segments have the number of their client: never used twice. */
bool mapped[CLIENTS];
bool attached[CLIENTS];
bool alive[CLIENTS];    /* as the kernel knows it: its socket is open */
byte asked[CLIENTS];    /* request line in the segment */
byte answered[CLIENTS]; /* response line in the segment */

/* Between the control thread and the daemon: two single-producer queues and the closed word. */
mtype = { attach, close_lane };
chan commands = [2] of { mtype, byte };
bool closed;

/* The daemon's private table: one lane. */
mtype = { none, ground, closing };
mtype place = none;
byte owner = NOBODY; /* whose segment the lane points to */
byte taken;          /* requests taken from the lane */
byte in_flight;

/* Tickets at the network: lane (always 0), the sequence, and for the assertions who asked. A large
 * value goes straight into the segment. */
chan network = [REQUESTS] of { byte, byte };
chan answers = [REQUESTS] of { byte, byte };

proctype client(byte self) {
  bool mortal;
  alive[self] = true;
  attached[self];
  if
  :: mortal = true
  :: mortal = false /* it gets all its answers: it has no other way on */
  fi;
  do
  :: asked[self] < REQUESTS && asked[self] == answered[self] -> asked[self]++
  :: answered[self] == REQUESTS -> break
  :: mortal -> break /* killed, also while a request is out */
  od;
  alive[self] = false
}

/* The response line stands where the lane's table entry points to. */
inline answer(asker, number) {
  assert(mapped[owner] && owner == asker);
  answered[owner] = number
}

active proctype daemon() {
  byte who, seq;
end:
  do
  :: commands ? attach(who) ->
     d_step {
       assert(place == none);
       place = ground;
       owner = who;
       taken = 0;
     }
  :: commands ? close_lane(who) -> place = closing
  :: (place == ground -> mapped[owner] && asked[owner] > taken : false) ->
     taken++;
     if
     :: /* local: answered at once */
        answer(owner, taken)
     :: /* remote */
        in_flight++;
        network ! owner, taken
     fi
  :: answers ? who, seq ->
     in_flight--;
     if
     :: place == ground ->
        answer(who, seq)
     :: else -> /* closing: counted home, not written */
#ifdef BUG_FORGET_TICKET
        in_flight++
#else
        skip
#endif
     fi
  :: place == closing &&
#ifndef BUG_RECLAIM_BEFORE_DRAIN
     in_flight == 0 &&
#endif
     !closed ->
     d_step {
       place = none;
       owner = NOBODY;
       closed = true;
     }
  od
}

/* Moves the bytes of large values by itself at any moment until it has given the answer. */
active proctype transport() {
  byte who, seq;
end:
  do
  :: network ? who, seq ->
     assert(mapped[who]);
     answers ! who, seq
  od
}

inline serve_client(who) {
  mapped[who] = true;
  commands ! attach(who);
  attached[who] = true;
#ifdef BUG_TIMER_DECLARES_DEATH
  if
  :: !alive[who]
  :: asked[who] == answered[who] /* silent for long */
  fi;
#else
  !alive[who]; /* end-of-file */
#endif
  assert(!alive[who]);
#ifdef BUG_UNMAP_AT_DEATH
  mapped[who] = false;
#endif
  commands ! close_lane(who);
  closed;
  d_step {
    closed = false;
    mapped[who] = false;
  }
}

init {
  run client(0);
  alive[0];
  serve_client(0);
  run client(1); /* the next owner of the same lane */
  alive[1];
  serve_client(1);
  assert(!mapped[0] && !mapped[1] && in_flight == 0 && place == none);
}

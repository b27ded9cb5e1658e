// The page: one conversation over a chat socket that may be on any node.
//
//   state.entries ◄── said, delta, reply ── socket ── hello, say, cancel ◄── composer
//                                             │ closed, silent, draining
//                                             └──► next endpoint: hello with `after`, unconfirmed messages again
//
// Text from outside only ever enters the page as textContent.
'use strict';

const TEXTS = {
  en: {
    user: 'User', password: 'Password', useToken: 'Use a token instead', token: 'Token', logIn: 'Log in',
    logOut: 'Log out', serving: 'served by', owner: 'owned by', newSession: 'New conversation', message: 'Message',
    stop: 'Stop', send: 'Send', sessions: 'Conversations', untitled: 'Conversation of', wrong: 'User or password is wrong.',
    wrongToken: 'This token is not valid.', unreachable: 'The node does not answer. Trying again…',
    lost: 'The connection was lost. Reconnecting', draining: 'This node is going away. Reconnecting',
    unavailable: 'No majority of the nodes is reachable. Your message is kept and sent again.',
    limited: 'Too many messages: this one is sent again in a moment.', sending: 'sending…', stopped: 'stopped',
    tooLong: 'The message is too long: at most {n} characters.', nodes: '{up} of {all} nodes are up, {leader} leads.',
    tooMany: 'Too many attempts. Wait a moment.', offline: 'Nothing is reachable.', failed: 'not sent',
  },
  fr: {
    user: 'Utilisateur', password: 'Mot de passe', useToken: 'Utiliser un jeton', token: 'Jeton', logIn: 'Se connecter',
    logOut: 'Se déconnecter', serving: 'servi par', owner: 'tenu par', newSession: 'Nouvelle conversation',
    message: 'Message', stop: 'Arrêter', send: 'Envoyer', sessions: 'Conversations', untitled: 'Conversation du',
    wrong: 'Utilisateur ou mot de passe incorrect.', wrongToken: 'Ce jeton n’est pas valable.',
    unreachable: 'Le nœud ne répond pas. Nouvel essai…', lost: 'La connexion est perdue. Reconnexion',
    draining: 'Ce nœud s’en va. Reconnexion',
    unavailable: 'La majorité des nœuds est injoignable. Votre message est gardé et sera renvoyé.',
    limited: 'Trop de messages : celui-ci repart dans un instant.', sending: 'envoi…', stopped: 'arrêté',
    tooLong: 'Le message est trop long : {n} caractères au plus.', nodes: '{up} nœuds sur {all} marchent, {leader} dirige.',
    tooMany: 'Trop d’essais. Patientez un instant.', offline: 'Rien n’est joignable.', failed: 'non envoyé',
  },
};
const LANGUAGE = (navigator.language || 'en').toLowerCase().startsWith('fr') ? 'fr' : 'en';
const t = (key, values = {}) =>
  (TEXTS[LANGUAGE][key] || key).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));

const $ = (id) => document.getElementById(id);
const OWN_SOCKET = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
const TOKEN_TTL_S = 12 * 3600;
const PING_EVERY_MS = 4000;
const SILENCE_MS = 7000;
const CONNECT_MS = 3000;
const RESEND_MS = 4000;
const CLUSTER_EVERY_MS = 3000;
const BACK_OFF_MS = [0, 250, 1000, 2000, 4000, 8000];

const state = {
  token: null, session: null, lastSeq: 0, endpoints: [OWN_SOCKET], at: 0, attempts: 0,
  socket: null, welcomed: false, heardAt: 0, pingedAt: 0, serving: '', owner: '', epoch: 0, limits: { message_chars: 4096 },
  pending: new Map(), shelf: new Map(), turns: new Map(), cluster: null, retry: null, generation: 0,
};

// ---- the server over HTTP

async function api(method, path, body, useCookie = false) {
  const headers = { 'X-Jarvis-CSRF': '1' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (state.token && !useCookie) headers.Authorization = `Bearer ${state.token}`;
  const answer = await fetch(path, {
    method, headers, credentials: 'same-origin', cache: 'no-store',
    body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(8000),
  });
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* an answer that is not ours */ }
  return { ok: answer.ok, status: answer.status, value };
}

// The socket of another node may be on another host, where the cookie does not go: the page keeps a short-lived token.
async function takeToken() {
  const kept = readStore('jarvis.token');
  if (kept && kept.until > Date.now() + 60000) {
    state.token = kept.token;
    const answer = await api('GET', '/api/v1/me');
    if (answer.ok) return answer.value;
    if (answer.status >= 500) throw new Error('unavailable');
    state.token = null;
  }
  sessionStorage.removeItem('jarvis.token');
  const made = await api('POST', '/api/v1/tokens', { label: 'page', page: true, ttl_s: TOKEN_TTL_S }, true);
  if (made.status === 401 || made.status === 403) return null;
  if (!made.ok) throw new Error('unavailable');
  state.token = made.value.token;
  writeStore('jarvis.token', { token: made.value.token, until: made.value.expires_at_ms });
  const me = await api('GET', '/api/v1/me');
  return me.ok ? me.value : null;
}

function readStore(key) {
  try { return JSON.parse(sessionStorage.getItem(key)); } catch { return null; }
}

function writeStore(key, value) {
  try { sessionStorage.setItem(key, JSON.stringify(value)); } catch { /* a browser that keeps nothing */ }
}

// ---- starting, logging in and out

function label() {
  document.querySelectorAll('[data-t]').forEach((el) => { el.textContent = t(el.dataset.t); });
  document.querySelectorAll('[data-placeholder]').forEach((el) => { el.placeholder = t(el.dataset.placeholder); });
  document.querySelectorAll('[data-label]').forEach((el) => { el.setAttribute('aria-label', t(el.dataset.label)); });
}

async function start() {
  document.documentElement.lang = LANGUAGE;
  label();
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get('token');
  if (token) {
    // Out of the address bar and the history before anything else happens.
    history.replaceState(null, '', location.pathname);
    sessionStorage.removeItem('jarvis.token');
    await logIn({ token });
    return;
  }
  state.session = fragment.get('session') || localStorage.getItem('jarvis.session') || null;
  await enter();
}

async function enter() {
  let me;
  try {
    me = await takeToken();
  } catch {
    showBanner(t('unreachable'));
    setTimeout(enter, 1500);
    return;
  }
  if (!me) { showLogin(); return; }
  showBanner('');
  $('login').hidden = true;
  $('app').hidden = false;
  $('me').textContent = me.user;
  loadShelf();
  restorePending();
  connect(0);
  refreshSessions();
  $('input').focus();
}

function showLogin(message = '') {
  $('app').hidden = true;
  $('login').hidden = false;
  $('login-error').hidden = !message;
  $('login-error').textContent = message;
  $('user').focus();
}

async function logIn(body) {
  $('login-button').disabled = true;
  try {
    const answer = await api('POST', '/api/v1/login', body, true);
    if (answer.ok) {
      $('password').value = $('token').value = '';
      await enter();
    } else if (answer.status === 429) {
      showLogin(t('tooMany'));
    } else if (answer.status === 401) {
      showLogin(t(body.token ? 'wrongToken' : 'wrong'));
    } else {
      showLogin(answer.value?.detail || t('unreachable'));
    }
  } catch {
    showLogin(t('unreachable'));
  } finally {
    $('login-button').disabled = false;
  }
}

async function logOut() {
  leave();
  try {
    // By the cookie first: the answer to either takes the cookie away.
    await api('POST', '/api/v1/logout', undefined, true);
    await api('POST', '/api/v1/logout');
  } catch { /* what could not be revoked expires */ }
  state.token = null;
  sessionStorage.clear();
  state.shelf.clear();
  localStorage.removeItem('jarvis.session');
  clearConversation(null);
  location.hash = '';
  showLogin();
}

// ---- the socket

function connect(delayMs) {
  clearTimeout(state.retry);
  state.retry = setTimeout(open, delayMs);
}

function leave() {
  clearTimeout(state.retry);
  const socket = state.socket;
  state.socket = null;
  state.welcomed = false;
  state.generation += 1;
  if (socket) socket.close(1000);
}

function open() {
  leave();
  const url = state.endpoints[state.at % state.endpoints.length];
  const generation = state.generation;
  let socket;
  try {
    socket = new WebSocket(url, 'jarvis.v1');
  } catch {
    next();
    return;
  }
  state.socket = socket;
  state.heardAt = Date.now();
  state.pingedAt = 0;
  const mine = () => generation === state.generation;
  const giveUp = setTimeout(() => { if (mine() && !state.welcomed) next(); }, CONNECT_MS);
  socket.onopen = () => {
    if (!mine()) return;
    const hello = { type: 'hello', token: state.token };
    if (state.session) { hello.session = state.session; hello.after = state.lastSeq; }
    socket.send(JSON.stringify(hello));
  };
  socket.onmessage = (event) => {
    if (!mine()) return;
    state.heardAt = Date.now();
    let frame;
    try { frame = JSON.parse(event.data); } catch { return; }
    if (frame.type === 'welcome') clearTimeout(giveUp);
    receive(frame, url);
  };
  socket.onclose = () => {
    clearTimeout(giveUp);
    if (mine()) next();
  };
}

// On to the next endpoint: at once for the first round, then ever slower.
function next() {
  leave();
  state.attempts += 1;
  state.at += 1;
  const round = Math.floor((state.attempts - 1) / state.endpoints.length);
  showBanner(`${t('lost')}…`);
  connect(BACK_OFF_MS[Math.min(round, BACK_OFF_MS.length - 1)] + Math.random() * 100 * round);
}

function send(frame) {
  if (state.welcomed && state.socket?.readyState === WebSocket.OPEN) state.socket.send(JSON.stringify(frame));
}

function receive(frame, url) {
  switch (frame.type) {
    case 'welcome': welcome(frame, url); break;
    case 'said': said(frame); break;
    case 'delta': delta(frame); break;
    case 'reply': reply(frame); break;
    case 'moved': setOwner(frame.owner, frame.epoch); refreshCluster(); break;
    case 'draining': drain(frame); break;
    case 'error': failed(frame); break;
    default: break;
  }
}

function welcome(frame, url) {
  state.welcomed = true;
  state.attempts = 0;
  state.limits = frame.limits || state.limits;
  // This one stays in front even where it is reached by another name than it advertises; own origin stays reachable.
  const rest = (frame.endpoints || []).slice(1).filter((other) => other !== url);
  state.endpoints = [...new Set([url, ...rest, OWN_SOCKET])];
  state.at = 0;
  if (frame.session !== state.session) {
    clearConversation(frame.session);
    refreshSessions();
  }
  setSession(frame.session);
  state.serving = frame.node;
  $('serving').textContent = frame.node;
  setOwner(frame.owner, frame.epoch);
  showBanner('');
  for (const [id, message] of state.pending) sendSay(id, message);
  refreshCluster();
}

function drain(frame) {
  const others = frame.endpoints || [];
  if (!others.length) return;
  state.endpoints = [...new Set([...others, ...state.endpoints])];
  state.at = 0;
  showBanner(`${t('draining')}…`);
  connect(0);
}

function failed(frame) {
  const message = frame.id ? state.pending.get(frame.id) : null;
  switch (frame.code) {
    case 'unauthorized':
      leave();
      state.token = null;
      sessionStorage.removeItem('jarvis.token');
      enter();
      return;
    case 'unavailable':
      if (message) retryLater(frame, message, 'unavailable');
      else if (!state.welcomed) next();
      return;
    case 'rate_limited':
      if (message) retryLater(frame, message, 'limited');
      return;
    case 'not_found':
      if (!state.welcomed) {
        const gone = state.session;
        change(null);
        // What waited for a conversation that is not there can never be said.
        state.shelf.delete(gone);
        keepPending();
        connect(0);
      }
      return;
    case 'too_long':
    case 'bad_frame':
    case 'forbidden':
      if (message) {
        state.pending.delete(frame.id);
        keepPending();
        note(frame.id, frame.message, true);
      }
      return;
    default:
      if (message) retryLater({ ...frame, retry_after_ms: 2000 }, message, 'sending');
  }
}

function retryLater(frame, message, why) {
  note(frame.id, t('sending'));
  if (why !== 'sending') showBanner(t(why));
  clearTimeout(message.timer);
  message.timer = setTimeout(() => sendSay(frame.id, message), Math.max(frame.retry_after_ms || 500, 100));
}

// ---- messages

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function say(text) {
  const limit = state.limits.message_chars;
  if (limit && [...text].length > limit) {
    showBanner(t('tooLong', { n: limit }));
    return false;
  }
  const id = newId();
  const message = { text, timer: null };
  state.pending.set(id, message);
  keepPending();
  const turn = turnOf(id);
  turn.user.textContent = text;
  turn.user.hidden = false;
  turn.user.classList.add('pending');
  scrollDown(true);
  sendSay(id, message);
  return true;
}

function sendSay(id, message) {
  if (!state.pending.has(id)) return;
  clearTimeout(message.timer);
  send({ type: 'say', id, text: message.text });
  message.timer = setTimeout(() => sendSay(id, message), RESEND_MS);
}

// What is not confirmed is kept for each conversation, and sent again when that one is opened again.
const NEW = 'new';

function keepPending() {
  const kept = [...state.pending].map(([id, message]) => [id, message.text]);
  const key = state.session || NEW;
  if (kept.length) state.shelf.set(key, kept);
  else state.shelf.delete(key);
  writeStore('jarvis.pending', [...state.shelf]);
}

function loadShelf() {
  const stored = readStore('jarvis.pending');
  if (state.shelf.size || !Array.isArray(stored)) return;
  for (const [key, kept] of stored) if (Array.isArray(kept)) state.shelf.set(key, kept);
}

function restorePending() {
  for (const [id, text] of state.shelf.get(state.session || NEW) || []) {
    if (state.pending.has(id)) continue;
    state.pending.set(id, { text, timer: null });
    const turn = turnOf(id);
    turn.user.textContent = text;
    turn.user.hidden = false;
    turn.user.classList.add('pending');
  }
}

function said(frame) {
  const message = state.pending.get(frame.id);
  if (message) {
    clearTimeout(message.timer);
    state.pending.delete(frame.id);
    keepPending();
    if (!state.pending.size) showBanner('');
  }
  if (frame.seq > state.lastSeq) state.lastSeq = frame.seq;
  const turn = turnOf(frame.id);
  turn.user.textContent = frame.text;
  turn.user.hidden = false;
  turn.user.classList.remove('pending');
  turn.user.dataset.seq = frame.seq;
  turn.note.hidden = true;
  // What is not yet said stays below what is.
  for (const id of state.pending.keys()) $('log').append(turnOf(id).root);
  updateStop();
  scrollDown();
}

function delta(frame) {
  const turn = turnOf(frame.reply_to);
  if (turn.done) return;
  const have = [...(turn.assistant.textContent || '')];
  if (frame.offset > have.length) return;
  turn.assistant.textContent = have.slice(0, frame.offset).join('') + frame.text;
  turn.assistant.hidden = false;
  turn.assistant.classList.add('writing');
  turn.assistant.setAttribute('aria-busy', 'true');
  updateStop();
  scrollDown();
}

function reply(frame) {
  if (frame.seq > state.lastSeq) state.lastSeq = frame.seq;
  // What nobody asked for stands by itself: its own id is its turn's.
  const turn = turnOf(frame.reply_to ?? frame.id);
  turn.done = true;
  turn.assistant.textContent = frame.text;
  turn.assistant.hidden = false;
  turn.assistant.dataset.seq = frame.seq;
  turn.assistant.classList.remove('writing');
  turn.assistant.removeAttribute('aria-busy');
  if (frame.cancelled) note(frame.reply_to, t('stopped'));
  // What is not yet said stays below what is.
  if (!frame.reply_to) for (const id of state.pending.keys()) $('log').append(turnOf(id).root);
  updateStop();
  scrollDown();
}

// A message and its reply, made when either is first heard of.
function turnOf(id) {
  let turn = state.turns.get(id);
  if (turn) return turn;
  const make = (tag, name) => {
    const el = document.createElement(tag);
    el.className = name;
    el.hidden = true;
    return el;
  };
  turn = {
    root: make('div', 'turn'), user: make('p', 'bubble user'), note: make('p', 'note'),
    assistant: make('p', 'bubble assistant'), done: false,
  };
  turn.root.hidden = false;
  turn.root.dataset.id = id;
  turn.root.append(turn.user, turn.note, turn.assistant);
  $('log').append(turn.root);
  state.turns.set(id, turn);
  return turn;
}

function note(id, text, bad = false) {
  const turn = turnOf(id);
  turn.note.textContent = text;
  turn.note.hidden = false;
  turn.note.classList.toggle('failed', bad);
  turn.user.classList.toggle('failed', bad);
}

function writing() {
  return [...state.turns].filter(([, turn]) => !turn.done && turn.assistant.classList.contains('writing'));
}

function updateStop() {
  $('stop').hidden = writing().length === 0;
}

function scrollDown(always = false) {
  const log = $('log');
  if (always || log.scrollHeight - log.scrollTop - log.clientHeight < 200) log.scrollTop = log.scrollHeight;
}

// ---- sessions

function setSession(id) {
  state.session = id;
  if (id) {
    localStorage.setItem('jarvis.session', id);
    history.replaceState(null, '', `#session=${encodeURIComponent(id)}`);
  } else {
    localStorage.removeItem('jarvis.session');
    history.replaceState(null, '', location.pathname);
  }
  keepPending();
  markSession();
}

function clearConversation(keepFor) {
  // Messages written before there was a session belong to the one that is made for them.
  const carried = state.session === null && keepFor ? [...state.pending] : [];
  if (carried.length) state.shelf.delete(NEW);
  for (const message of state.pending.values()) clearTimeout(message.timer);
  state.pending.clear();
  state.turns.clear();
  state.lastSeq = 0;
  $('log').replaceChildren();
  for (const [id, message] of carried) {
    state.pending.set(id, message);
    const turn = turnOf(id);
    turn.user.textContent = message.text;
    turn.user.hidden = false;
    turn.user.classList.add('pending');
  }
  updateStop();
}

// Shows another conversation, or a new one; what is not confirmed stays with the one that is left.
function change(session) {
  keepPending();
  state.session = session || '';
  clearConversation(null);
  restorePending();
  setSession(session);
}

function goTo(session) {
  leave();
  change(session);
  $('side').hidden = true;
  $('menu').setAttribute('aria-expanded', 'false');
  connect(0);
  $('input').focus();
}

async function refreshSessions() {
  let answer;
  try { answer = await api('GET', '/api/v1/sessions'); } catch { return; }
  if (!answer.ok) return;
  $('sessions').replaceChildren(...answer.value.sessions.map((session) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.session = session.id;
    const when = new Date(session.created_at_ms).toLocaleString(LANGUAGE);
    button.textContent = session.title || `${t('untitled')} ${when}`;
    button.onclick = () => goTo(session.id);
    item.append(button);
    return item;
  }));
  markSession();
}

function markSession() {
  document.querySelectorAll('#sessions button').forEach((button) => {
    button.setAttribute('aria-current', String(button.dataset.session === state.session));
  });
}

// ---- the nodes

function setOwner(name, epoch) {
  if (epoch < state.epoch && name === state.owner) return;
  state.owner = name;
  state.epoch = epoch;
  $('owner').textContent = name || '–';
  draw();
}

async function refreshCluster() {
  if (document.hidden || !state.token) return;
  const socket = state.endpoints[state.at % state.endpoints.length];
  const base = socket === OWN_SOCKET ? '' : socket.replace(/^ws/, 'http').replace(/\/ws$/, '');
  try {
    const answer = await fetch(`${base}/api/v1/cluster`, {
      headers: { Authorization: `Bearer ${state.token}` }, credentials: 'omit', cache: 'no-store',
      signal: AbortSignal.timeout(CLUSTER_EVERY_MS),
    });
    if (!answer.ok) throw new Error(String(answer.status));
    state.cluster = await answer.json();
    $('nodes').classList.remove('stale');
  } catch {
    $('nodes').classList.add('stale');
  }
  draw();
}

function draw() {
  const svg = $('nodes');
  const nodes = state.cluster?.nodes || [];
  const el = (name, attributes, text) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const step = 160 / Math.max(nodes.length, 1);
  const at = nodes.map((_, i) => [step * (i + 0.5), nodes.length > 2 && i % 2 ? 14 : 30]);
  const up = (node) => node.state !== 'down' && node.state !== 'joining';
  const lines = [];
  nodes.forEach((a, i) => nodes.forEach((b, j) => {
    if (i < j && up(a) && up(b)) lines.push(el('line', { x1: at[i][0], y1: at[i][1], x2: at[j][0], y2: at[j][1] }));
  }));
  const dots = nodes.map((node, i) => {
    const kind = node.state === 'up' ? 'up' : node.state === 'down' ? 'down' : 'away';
    const marks = [kind, node.name === state.owner && 'owner', node.name === state.serving && 'serving'];
    const group = el('g', { class: marks.filter(Boolean).join(' '), 'data-node': node.name, 'data-state': node.state });
    const leads = node.name === state.cluster.leader;
    group.append(el('circle', { class: 'node', cx: at[i][0], cy: at[i][1], r: 8 }));
    if (leads) group.append(el('circle', { class: 'leader', cx: at[i][0], cy: at[i][1], r: 11.5 }));
    group.append(el('text', { x: at[i][0], y: at[i][1] + 24 }, node.name.slice(0, 14)));
    group.append(el('title', {}, `${node.name}: ${node.state}${leads ? ', leader' : ''}`));
    return group;
  });
  const title = svg.querySelector('#nodes-title');
  const leader = state.cluster?.leader || '–';
  title.textContent = t('nodes', { up: nodes.filter(up).length, all: nodes.length, leader });
  svg.replaceChildren(title, ...lines, ...dots);
}

// ---- the rest of the page

function showBanner(text) {
  $('banner').textContent = text;
  $('banner').hidden = !text;
}

function fit() {
  const input = $('input');
  input.rows = Math.min(8, Math.max(1, input.value.split('\n').length));
}

$('login').onsubmit = (event) => {
  event.preventDefault();
  const token = $('token').value.trim();
  logIn(token ? { token } : { user: $('user').value.trim(), password: $('password').value });
};
$('composer').onsubmit = (event) => {
  event.preventDefault();
  const text = $('input').value;
  if (text.trim() && say(text)) {
    $('input').value = '';
    fit();
  }
  $('input').focus();
};
$('input').oninput = fit;
$('input').onkeydown = (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('composer').requestSubmit();
  }
};
$('stop').onclick = () => writing().forEach(([id]) => send({ type: 'cancel', id }));
$('new').onclick = () => goTo(null);
$('logout').onclick = logOut;
$('menu').onclick = () => {
  $('side').hidden = !$('side').hidden;
  $('menu').setAttribute('aria-expanded', String(!$('side').hidden));
  if (!$('side').hidden) refreshSessions();
};
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  if (!$('side').hidden) $('menu').click();
  else writing().forEach(([id]) => send({ type: 'cancel', id }));
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  refreshCluster();
  if (!state.socket && state.token && !$('app').hidden) connect(0);
});
window.addEventListener('online', () => { if (!state.welcomed && state.token) connect(0); });
window.addEventListener('hashchange', () => {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const session = fragment.get('session');
  if (fragment.get('token')) start();
  else if (session && session !== state.session) goTo(session);
});

setInterval(() => {
  if (!state.welcomed) return;
  // Only an unanswered ping counts: browsers slow the timers of hidden pages down.
  if (state.heardAt < state.pingedAt) {
    if (Date.now() - state.pingedAt > SILENCE_MS) next();
    return;
  }
  state.pingedAt = Date.now();
  send({ type: 'ping', t: state.pingedAt });
}, PING_EVERY_MS);
setInterval(refreshCluster, CLUSTER_EVERY_MS);

start();

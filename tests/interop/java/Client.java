// java-spiffe against avouch's Workload API: fetches, watches through rotations of SVIDs and authorities, validates
// JWT-SVIDs from the bundle alone, and holds mTLS with other clients while opening new handshakes all the time.
// What it takes and prints is described in ../README.md.

import io.spiffe.exception.JwtSvidException;
import io.spiffe.provider.SpiffeSslContextFactory;
import io.spiffe.provider.SpiffeSslContextFactory.SslContextOptions;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.spiffeid.TrustDomain;
import io.spiffe.svid.jwtsvid.JwtSvid;
import io.spiffe.workloadapi.DefaultJwtSource;
import io.spiffe.workloadapi.DefaultX509Source;
import io.spiffe.workloadapi.JwtSource;
import io.spiffe.workloadapi.X509Source;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.GeneralSecurityException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;

public final class Client {
    private static final String AUDIENCE = "interop.example.test";
    private static final int PAUSE = 200;
    private static final int DEADLINE = 20_000;

    private static X509Source source;
    private static String own;
    private static TrustDomain domain;

    public static void main(String[] arguments) throws Exception {
        Path meeting = Path.of(arguments[0]);
        String name = arguments[1];
        int seconds = Integer.parseInt(arguments[2]);
        int count = Integer.parseInt(arguments[3]);
        source = DefaultX509Source.newSource();
        JwtSource tokens = DefaultJwtSource.newSource();
        own = source.getX509Svid().getSpiffeId().toString();
        domain = source.getX509Svid().getSpiffeId().getTrustDomain();
        say("id", own);
        say("jwt", validated(tokens));
        SSLServerSocket listener = (SSLServerSocket) context(null).getServerSocketFactory()
                .createServerSocket(0, 64, InetAddress.getLoopbackAddress());
        listener.setNeedClientAuth(true);
        daemon(() -> serve(listener));
        announce(meeting, name + ".port", Integer.toString(listener.getLocalPort()));
        List<String> peers = await(meeting, ".port", count);
        Seen seen = new Seen();
        daemon(seen::watch);
        long until = System.nanoTime() + seconds * 1_000_000_000L;
        AtomicInteger held = new AtomicInteger();
        AtomicInteger heldFailed = new AtomicInteger();
        List<Thread> holding = new ArrayList<>();
        for (String peer : peers) {
            holding.add(daemon(() -> hold(meeting, peer, until, held, heldFailed)));
        }
        int handshakes = 0;
        int failed = 0;
        for (int turn = 0; System.nanoTime() < until; turn++) {
            String peer = peers.get(turn % peers.size());
            try (SSLSocket connection = dial(meeting, peer)) {
                ask(connection, reader(connection));
                handshakes++;
            } catch (IOException | GeneralSecurityException error) {
                System.err.println("handshake with " + peer + ": " + error);
                failed++;
            }
            Thread.sleep(PAUSE);
        }
        for (Thread thread : holding) {
            thread.join();
        }
        say("jwt-later", validated(tokens));
        seen.say();
        say("handshakes", handshakes);
        say("failed", failed);
        say("held", held.get());
        say("held-failed", heldFailed.get());
        announce(meeting, name + ".done", "");
        await(meeting, ".done", count);
        System.exit(0);
    }

    /** Fetches a JWT-SVID and checks it here, from the bundle alone, and not by asking the helper. */
    private static String validated(JwtSource tokens) throws Exception {
        String token = tokens.fetchJwtSvid(AUDIENCE).getToken();
        try {
            JwtSvid.parseAndValidate(token, tokens, Set.of("other.example.test"));
        } catch (JwtSvidException refused) {
            say("foreign-audience", "refused");
        }
        return JwtSvid.parseAndValidate(token, tokens, Set.of(AUDIENCE)).getSpiffeId().toString();
    }

    /** What the source has had, one after another. It tells of no change, so it is looked at often. */
    private static final class Seen {
        private final Set<BigInteger> serials = new HashSet<>();
        private final Set<X509Certificate> authorities = new HashSet<>();
        private final Set<X509Certificate> signers = new HashSet<>();

        void watch() throws Exception {
            for (;; Thread.sleep(100)) {
                look();
            }
        }

        private synchronized void look() throws Exception {
            X509Certificate leaf = source.getX509Svid().getLeaf();
            serials.add(leaf.getSerialNumber());
            for (X509Certificate authority : source.getBundleForTrustDomain(domain).getX509Authorities()) {
                authorities.add(authority);
                try {
                    leaf.verify(authority.getPublicKey());
                    signers.add(authority);
                } catch (GeneralSecurityException another) {
                    continue;
                }
            }
        }

        synchronized void say() {
            Client.say("serials", serials.size());
            Client.say("authorities", authorities.size());
            Client.say("signers", signers.size());
        }
    }

    /** A context that accepts one SPIFFE ID; without one, any. It has no sessions yet, so each handshake is a whole one. */
    private static SSLContext context(SpiffeId only) throws GeneralSecurityException {
        SslContextOptions.SslContextOptionsBuilder options = SslContextOptions.builder().x509Source(source);
        options = only == null ? options.acceptAnySpiffeId() : options.acceptedSpiffeIdsSupplier(() -> Set.of(only));
        return SpiffeSslContextFactory.getSslContext(options.build());
    }

    private static void serve(SSLServerSocket listener) throws IOException {
        while (true) {
            SSLSocket accepted = (SSLSocket) listener.accept();
            daemon(() -> answer(accepted));
        }
    }

    /** Answers each line with the SPIFFE ID of whoever sent it. */
    private static void answer(SSLSocket accepted) {
        try (accepted) {
            accepted.startHandshake();
            X509Certificate leaf = (X509Certificate) accepted.getSession().getPeerCertificates()[0];
            String peer = (String) leaf.getSubjectAlternativeNames().iterator().next().get(1);
            BufferedReader lines = reader(accepted);
            while (lines.readLine() != null) {
                accepted.getOutputStream().write((peer + "\n").getBytes(StandardCharsets.US_ASCII));
            }
        } catch (Exception error) {
            System.err.println("serving: " + error);
        }
    }

    private static SSLSocket dial(Path meeting, String peer) throws IOException, GeneralSecurityException {
        int port = Integer.parseInt(Files.readString(meeting.resolve(peer + ".port")));
        SSLSocket connection = (SSLSocket) context(SpiffeId.fromSegments(domain, "agent", peer)).getSocketFactory()
                .createSocket(InetAddress.getLoopbackAddress(), port);
        connection.setSoTimeout(DEADLINE);
        connection.startHandshake();
        return connection;
    }

    private static void ask(SSLSocket connection, BufferedReader lines) throws IOException {
        connection.getOutputStream().write("who am I?\n".getBytes(StandardCharsets.US_ASCII));
        String said = lines.readLine();
        if (!own.equals(said)) {
            throw new IOException("taken for " + said);
        }
    }

    /** One connection that is kept and used, whatever is rotated meanwhile. */
    private static void hold(Path meeting, String peer, long until, AtomicInteger held, AtomicInteger failed) {
        try (SSLSocket connection = dial(meeting, peer)) {
            BufferedReader lines = reader(connection);
            while (System.nanoTime() < until) {
                ask(connection, lines);
                held.incrementAndGet();
                Thread.sleep(1000);
            }
        } catch (Exception error) {
            System.err.println("held connection to " + peer + ": " + error);
            failed.incrementAndGet();
        }
    }

    private static BufferedReader reader(SSLSocket connection) throws IOException {
        return new BufferedReader(new InputStreamReader(connection.getInputStream(), StandardCharsets.US_ASCII));
    }

    private interface Work {
        void run() throws Exception;
    }

    private static Thread daemon(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Exception error) {
                error.printStackTrace();
            }
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    /** Writes a file in one step. */
    private static void announce(Path meeting, String name, String text) throws IOException {
        Path made = meeting.resolve(name + ".new");
        Files.writeString(made, text);
        Files.move(made, meeting.resolve(name), StandardCopyOption.ATOMIC_MOVE);
    }

    /** Waits until so many have announced a thing; their names. */
    private static List<String> await(Path meeting, String ending, int count) throws Exception {
        for (long begun = System.nanoTime(); System.nanoTime() - begun < 120_000_000_000L; Thread.sleep(50)) {
            try (Stream<Path> files = Files.list(meeting)) {
                List<String> names = files.map(file -> file.getFileName().toString())
                        .filter(file -> file.endsWith(ending))
                        .map(file -> file.substring(0, file.length() - ending.length()))
                        .sorted().collect(Collectors.toList());
                if (names.size() >= count) {
                    return names;
                }
            }
        }
        throw new IOException("not all of " + count + " have announced " + ending);
    }

    private static void say(String word, Object value) {
        System.out.println(word + " " + value);
    }
}

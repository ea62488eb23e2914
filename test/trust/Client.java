// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.InputStreamReader;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import java.util.List;

/** Makes one TLS connection for each line "ADDRESS HOST", with what the machine trusts by default. */
class Client {
	public static void main(String[] args) throws Exception {
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
		System.out.println("ready");
		for (String line; (line = in.readLine()) != null; ) {
			String[] f = line.split("[ :]");
			try (SSLSocket s = (SSLSocket) SSLSocketFactory.getDefault().createSocket(f[0], Integer.parseInt(f[1]))) {
				SSLParameters p = s.getSSLParameters();
				p.setServerNames(List.of(new SNIHostName(f[2])));
				s.setSSLParameters(p);
				s.startHandshake();
				System.out.println("ok");
			} catch (Exception e) {
				System.out.println("no: " + e.getMessage());
			}
		}
	}
}
